"""DomainSpec to libvirt XML: structure, escaping, and what is left out."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from nova_lite.drivers.hypervisor.libvirt import domain_xml
from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.domain import (
    CpuSpec,
    CpuTune,
    DiskSpec,
    DomainSpec,
    GuestNumaCell,
    MemoryBacking,
    NicSpec,
    ShareSpec,
)

SPEC = DomainSpec(
    uuid="3b0f1c3e-0000-4000-8000-000000000001",
    name="instance-00000001",
    title="",
    virt_type="kvm",
    arch="x86_64",
    machine="pc",
    memory_kib=65536,
    vcpus=1,
)
OLD_UEFI = """
<domain><os><type>hvm</type>
<loader readonly='yes' type='pflash'>/usr/share/OVMF/OLD_CODE.fd</loader>
<nvram template='/usr/share/OVMF/OLD_VARS.fd'>/nvram/VARS.fd</nvram></os></domain>
"""


def render(existing: str | None = None, **changes: object) -> ET.Element:
    return ET.fromstring(domain_xml.render(replace(SPEC, **changes), existing))  # type: ignore[arg-type]


def test_text_of_users_cannot_break_out() -> None:
    """Markup in names stays text, and characters that XML cannot hold are replaced."""
    root = render(title="</title><x/>\x00", metadata={"name": "a<b>&\x1b"})

    assert root.findtext("title") == "</title><x/>\ufffd"
    name = root.find("metadata//{http://openstack.org/xmlns/libvirt/nova/1.1}name")
    assert name is not None and name.text == "a<b>&\ufffd"


def test_a_share_comes_over_virtiofs() -> None:
    """From memory that virtiofsd can map."""
    root = render(
        shares=(ShareSpec("/mnt/1", "docs"),), memory_backing=MemoryBacking(shared=True)
    )

    share = root.find("devices/filesystem[@type='mount'][@accessmode='passthrough']")
    assert share is not None and share.find("driver[@type='virtiofs']") is not None
    assert share.find("source[@dir='/mnt/1']") is not None
    assert share.find("target[@dir='docs']") is not None
    assert root.find("memoryBacking/source[@type='memfd']") is not None
    assert root.find("memoryBacking/access[@mode='shared']") is not None


def test_one_boot_order_rules_out_the_other() -> None:
    """libvirt refuses <os><boot> next to a device's own boot order."""
    disk = DiskSpec("vda", "virtio", "/d")

    assert [b.get("dev") for b in render(disks=(disk,)).findall("os/boot")] == ["hd"]
    ordered = render(disks=(replace(disk, boot_order=1),))
    assert ordered.findall("os/boot") == []
    assert ordered.find("devices/disk/boot[@order='1']") is not None


def test_a_new_uefi_guest_leaves_the_choice_of_firmware_to_libvirt() -> None:
    """No paths, only whether secure boot is wanted."""
    root = render(firmware="uefi", secure_boot=True)

    assert root.find("os[@firmware='efi']/firmware/feature[@name='secure-boot'][@enabled='yes']")\
        is not None  # fmt: skip
    assert root.find("os/loader") is None


def test_an_existing_uefi_guest_keeps_its_firmware() -> None:
    """Loader and NVRAM stay: variables of one build may not fit another."""
    root = render(OLD_UEFI, firmware="uefi")

    assert root.find("os[@firmware]") is None
    assert root.findtext("os/loader") == "/usr/share/OVMF/OLD_CODE.fd"
    assert root.findtext("os/nvram") == "/nvram/VARS.fd"


def test_kvm_only_features_are_left_out_for_emulated_guests() -> None:
    """QEMU alone refuses Hyper-V enlightenments and extended interrupt mode."""
    wanted = {"hyperv": True, "viommu_model": "intel", "machine": "q35"}

    assert render(**wanted).find("features/hyperv") is not None
    emulated = render(**wanted, virt_type="qemu")
    assert emulated.find("features/hyperv") is None
    assert emulated.find("devices/iommu/driver[@eim='off']") is not None


def test_translation_cache_is_for_emulated_guests() -> None:
    """<tcg> makes libvirt refuse a KVM guest."""
    assert render(tb_cache_mb=64).find("features/tcg") is None
    cache = render(tb_cache_mb=64, virt_type="qemu").find("features/tcg/tb-cache")
    assert cache is not None and (cache.text, cache.get("unit")) == ("64", "MiB")


@pytest.mark.parametrize("apic", [True, False])
def test_the_apic_can_be_left_out(apic: bool) -> None:
    """[workarounds]libvirt_disable_apic."""
    root = render(apic=apic)

    assert (root.find("features/apic") is not None) is apic
    assert root.find("features/acpi") is not None


@pytest.mark.parametrize(("machine", "ports"), [("pc", 0), ("q35", 3), ("pc-q35-7.2", 3)])
def test_pcie_ports_need_a_pcie_machine(machine: str, ports: int) -> None:
    """The i440fx board has no PCIe: ports there would be an error."""
    root = render(machine=machine, pcie_ports=3)

    assert len(root.findall("devices/controller[@model='pcie-root-port']")) == ports


def test_an_existing_tap_is_left_as_it_is() -> None:
    """managed='no': libvirt must neither make nor remove it."""
    nic = NicSpec("52:54:00:00:00:01", "tap", target="tap1", mtu=1400)
    interface = render(nics=(nic,)).find("devices/interface[@type='ethernet']")

    assert interface is not None
    assert interface.find("target[@dev='tap1'][@managed='no']") is not None
    assert interface.find("mtu[@size='1400']") is not None
    assert interface.find("driver") is None


@pytest.mark.parametrize(("plug", "path"), [("carrier-pigeon", None), ("hostdev", "06:00")])
def test_an_interface_that_cannot_be_expressed_is_named(plug: str, path: str | None) -> None:
    """The error says which interface, by its MAC address."""
    nic = NicSpec("52:54:00:00:00:01", plug, source_path=path)
    with pytest.raises(VifTypeUnsupported, match="52:54:00:00:00:01"):
        render(nics=(nic,))


def test_nothing_is_tuned_unless_asked_for() -> None:
    """Empty tuning elements would fail on hosts without cgroups."""
    root = render()

    for tag in ("cputune", "numatune", "memoryBacking", "metadata", "sysinfo", "perf"):
        assert root.find(tag) is None, tag


def test_io_threads_stay_off_pinned_cpus() -> None:
    """They go where the emulator goes."""
    tune = CpuTune(pins={0: frozenset({4})}, emulator_pin=frozenset({0, 1}))
    root = render(cpu_tune=tune)

    assert root.find("cputune/iothreadpin[@iothread='1'][@cpuset='0-1']") is not None
    assert root.find("cputune/vcpupin[@vcpu='0'][@cpuset='4']") is not None


def test_floating_numa_cells_are_not_tied_to_host_nodes() -> None:
    """numatune speaks only of the cells that were placed."""
    cells = (
        GuestNumaCell(0, frozenset({0}), 1024, host_node=1),
        GuestNumaCell(1, frozenset({1}), 1024),
    )
    root = render(cpu=CpuSpec(numa_cells=cells))

    assert [n.get("cellid") for n in root.findall("numatune/memnode")] == ["0"]
    assert [c.get("id") for c in root.findall("cpu/numa/cell")] == ["0", "1"]


def test_a_guest_without_statistics_has_no_balloon() -> None:
    """Left out, libvirt would add one."""
    assert render(balloon_period_s=0).find("devices/memballoon[@model='none']") is not None


def test_timers_are_for_kvm() -> None:
    """Emulated guests keep libvirt's own timers, KVM guests get the usual three."""
    assert render(virt_type="qemu").findall("clock/timer") == []
    assert [t.get("name") for t in render().findall("clock/timer")] == ["pit", "rtc", "hpet"]
