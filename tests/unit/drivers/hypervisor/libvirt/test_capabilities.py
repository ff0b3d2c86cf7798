"""Traits and machine types from libvirt's domain capabilities."""

from __future__ import annotations

from pathlib import Path

import os_traits
import pytest

from nova_lite.drivers.hypervisor.libvirt import capabilities as caps

XML = """
<domainCapabilities>
  <os supported='yes'>
    <enum name='firmware'><value>efi</value></enum>
    <loader supported='yes'><enum name='secure'><value>yes</value><value>no</value></enum></loader>
  </os>
  <cpu>
    <mode name='host-model' supported='yes'>
      <model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
      <feature policy='require' name='avx2'/>
    </mode>
    <mode name='host-passthrough' supported='no'/>
  </cpu>
  <devices>
    <disk supported='yes'>
      <enum name='bus'><value>ide</value><value>virtio</value></enum>
    </disk>
    <video supported='yes'>
      <enum name='modelType'><value>vga</value><value>ramfb</value></enum>
    </video>
    <tpm supported='no'><enum name='model'><value>tpm-crb</value></enum></tpm>
  </devices>
</domainCapabilities>
"""
GUESTS = (("x86_64", "kvm", "hvm"), ("aarch64", "qemu", "hvm"), ("sparc", "qemu", "hvm"))
NEW = (99_000_000, 99_000_000)


def test_domain_capabilities_are_read() -> None:
    """What is not supported offers nothing, whatever values it lists."""
    found = caps.parse(XML)

    assert found.disk_buses == {"ide", "virtio"}
    assert found.tpm_models == frozenset()
    assert found.cpu_modes == {"host-model"}
    assert found.host_model is not None and "EPYC" in found.host_model
    assert caps.secure_boot(found)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "ppc64le", "s390x", "riscv64"])
def test_every_trait_exists(arch: str) -> None:
    """Placement refuses unknown standard traits."""
    everything = caps.DomainCapabilities(
        disk_buses=frozenset(caps.STORAGE_BUSES),
        video_models=frozenset(caps.GRAPHICS_MODELS),
        firmware=frozenset({"efi"}),
        loader_secure=True,
    )
    guests = [(name, "qemu", "hvm") for name in caps.ARCHITECTURES]

    assert caps.traits(arch, guests, everything, *NEW) <= set(os_traits.get_traits())


def test_traits_follow_what_libvirt_offers() -> None:
    """Buses, video models and architectures are claimed one by one; unknown ones not at all."""
    found = caps.traits("x86_64", GUESTS, caps.parse(XML), 9_000_000, 7_002_022)

    assert {t for t in found if t.startswith("COMPUTE_STORAGE_BUS_")} == {
        "COMPUTE_STORAGE_BUS_IDE",
        "COMPUTE_STORAGE_BUS_VIRTIO",
    }
    assert {t for t in found if t.startswith("COMPUTE_GRAPHICS_")} == {"COMPUTE_GRAPHICS_MODEL_VGA"}
    assert {t for t in found if "ARCH_" in t} == {
        "HW_ARCH_X86_64",
        "COMPUTE_ARCH_X86_64",
        "COMPUTE_ARCH_AARCH64",
    }
    assert "COMPUTE_SECURITY_UEFI_SECURE_BOOT" in found


def test_later_models_need_later_versions() -> None:
    """igb came with libvirt 9.3 and QEMU 8.0: both are needed."""
    igb = "COMPUTE_NET_VIF_MODEL_IGB"
    domain = caps.parse(XML)

    assert igb not in caps.traits("x86_64", GUESTS, domain, 9_000_000, 8_000_000)
    assert igb not in caps.traits("x86_64", GUESTS, domain, 9_003_000, 7_002_000)
    assert igb in caps.traits("x86_64", GUESTS, domain, 9_003_000, 8_000_000)


def test_what_is_not_done_is_not_claimed() -> None:
    """No TPM support means no trait for it."""
    found = caps.traits("x86_64", GUESTS, caps.parse(XML), *NEW)

    assert not [t for t in found if t.startswith("COMPUTE_SECURITY_TPM_")]


TPM = """<domainCapabilities><devices><tpm supported='yes'>
  <enum name='model'><value>tpm-tis</value><value>tpm-crb</value></enum>
  <enum name='backendModel'><value>passthrough</value>{}</enum>{}
</tpm></devices></domainCapabilities>"""
EMULATOR = "<value>emulator</value>"
VERSIONS = "<enum name='backendVersion'><value>2.0</value></enum>"
MODELS = {
    f"COMPUTE_SECURITY_TPM_{name}" for name in ("TIS", "CRB", "2_0", "SECRET_SECURITY_USER")
}  # fmt: skip


@pytest.mark.parametrize(
    ("emulator", "versions", "expected"),
    [
        (EMULATOR, VERSIONS, MODELS),
        (EMULATOR, "", MODELS | {"COMPUTE_SECURITY_TPM_1_2"}),
        ("", VERSIONS, set()),
    ],
)
def test_tpms_are_claimed_where_swtpm_is(emulator: str, versions: str, expected: set[str]) -> None:
    """In the versions that libvirt tells, since it does."""
    found = caps.tpm_traits(caps.parse(TPM.format(emulator, versions)), ["user"])

    assert found == expected
    assert found <= set(os_traits.get_traits())


def test_a_host_tells_whose_the_keys_of_its_tpms_may_be() -> None:
    """The scheduler looks for it; what os-traits does not know is nothing that it asks for."""
    modes = ["host", "deployment", "Host"]
    found = caps.tpm_traits(caps.parse(TPM.format(EMULATOR, VERSIONS)), modes)

    prefix = "COMPUTE_SECURITY_TPM_SECRET_SECURITY_"
    assert {name for name in found if name.startswith(prefix)} == {
        f"{prefix}HOST", f"{prefix}DEPLOYMENT"
    }  # fmt: skip
    assert found <= set(os_traits.get_traits())


def test_the_default_machine_type_comes_first() -> None:
    """nova.conf's, else stock nova-compute's; one that QEMU does not have is no default."""
    machines = {"x86_64": ("q35", "pc", "microvm"), "aarch64": ("virt", "raspi3b")}

    assert caps.machine_types(machines, ()) == {
        "x86_64": ("pc", "microvm", "q35"),
        "aarch64": ("virt", "raspi3b"),
    }
    assert caps.machine_types(machines, ["x86_64=q35"])["x86_64"][0] == "q35"
    assert caps.machine_types(machines, ["x86_64=gone"])["x86_64"][0] == "microvm"


@pytest.mark.parametrize(
    ("controllers", "mounts", "able"),
    [
        ("cpuset cpu io\n", "", True),
        ("cpuset io\n", "", False),
        (None, "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n", True),
        (None, "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n", False),
    ],
)
def test_cpu_limits_need_the_cgroup_controller(
    tmp_path: Path, controllers: str | None, mounts: str, able: bool
) -> None:
    """Version 2 lists it in a file, version 1 in the mount options."""
    if controllers is not None:
        (tmp_path / "cgroup.controllers").write_text(controllers)
    (tmp_path / "mounts").write_text(mounts)

    assert caps.has_cpu_cgroup(tmp_path, tmp_path / "mounts") is able


def test_shares_need_virtiofsd_and_memory_that_it_can_map(tmp_path: Path) -> None:
    """libvirt knows the device, but only a description of vhost-user names the program."""
    xml = "<devices><filesystem supported='yes'><enum name='driverType'><value>virtiofs</value>" \
          "</enum></filesystem>"  # fmt: skip
    domain = caps.parse(XML.replace("<devices>", xml))
    program, said = tmp_path / "virtiofsd", tmp_path / "50-virtiofsd.json"
    said.write_text(f'{{"type": "fs", "binary": "{program}"}}')
    (tmp_path / "40-gpu.json").write_text('{"type": "gpu", "binary": "/bin/sh"}')
    (tmp_path / "30-broken.json").write_text("{")

    assert caps.share_traits(domain, False, [tmp_path]) == set()
    program.touch(mode=0o755)
    found = caps.share_traits(domain, True, [tmp_path])
    assert found == {"COMPUTE_STORAGE_VIRTIO_FS", "COMPUTE_MEM_BACKING_FILE"}
    assert found <= set(os_traits.get_traits())
    assert caps.share_traits(caps.parse(XML), False, [tmp_path]) == set()
