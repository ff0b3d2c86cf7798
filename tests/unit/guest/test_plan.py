"""The whole guest, for the common cases."""

from dataclasses import replace

import pytest
from oslo_config import cfg

import nova_lite.conf
from nova_lite import errors
from nova_lite.guest.policy import HostPolicy
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.model.server import BlockDevice
from tests.fakes.servers import CAPABILITIES, KVM, QEMU, UUID, a_guest, a_server


def test_the_common_guest():
    """A plain flavor and image give what stock Nova gives on the same host."""
    spec = a_guest(
        a_server(config_drive=True), nics=[NicSpec("fa:16:3e:00:00:01", "tap", target="tap0")]
    )

    assert (spec.name, spec.uuid, spec.memory_kib, spec.vcpus) == (
        "instance-000000ae",
        UUID,
        131072,
        1,
    )
    assert (spec.arch, spec.machine, spec.virt_type) == ("x86_64", "pc", "qemu")
    assert (spec.cpu.mode, spec.cpu.sockets, spec.cpu.cores, spec.cpu.threads) == (
        "host-model",
        1,
        1,
        1,
    )
    root, config = spec.disks
    assert (root.target, root.bus, root.kind, root.format) == ("vda", "virtio", "disk", "qcow2")
    assert root.source == f"/var/lib/nova/instances/{UUID}/disk"
    assert root.cache == "none"
    assert (config.target, config.bus, config.kind, config.format) == ("hda", "ide", "cdrom", "raw")
    assert spec.boot_devices == ("hd",)
    assert spec.nics[0].driver == "qemu"
    assert spec.video_model == "virtio"
    assert spec.input_devices == (("tablet", "usb"),)
    assert spec.usb_model is None
    assert spec.rng == "/dev/urandom"
    assert spec.console_log == f"/var/lib/nova/instances/{UUID}/console.log"
    assert spec.smbios["product"] == "OpenStack Nova"
    assert spec.smbios["serial"] == UUID


def test_metadata_names_flavor_owner_image_and_ports():
    """Tools that read Nova's domain metadata find what stock writes there."""
    subnet = Subnet("10.0.0.0/24", 4, ips=(FixedIp("10.0.0.7", 4),))
    vif = Vif("p1", "fa:16:3e:00:00:01", Network("n1", subnets=(subnet,)), "ovs")

    meta = a_guest(a_server(specs={"hw:boot_menu": "yes"}), vifs=[vif]).metadata

    assert meta["name"] == "web-1"
    assert meta["creationTime"] == "1970-01-01 00:00:00"
    assert meta["flavor"]["extraSpecs"] == {"hw:boot_menu": "yes"}
    assert meta["owner"]["user"] == {"uuid": "afc07d7951c34895ac059def93dd7ef3", "name": "alice"}
    assert meta["root"] == {"type": "image", "uuid": "50ca829a-8a56-42b9-b830-09761ae1e561"}
    assert meta["image"]["diskFormat"] == "qcow2"
    assert meta["ports"] == [
        {"uuid": "p1", "ips": [{"type": "fixed", "address": "10.0.0.7", "ipVersion": "4"}]}
    ]


def test_kernel_image():
    """An AMI-style image boots its kernel with the root device on the command line."""
    spec = a_guest(a_server(kernel_id="k", ramdisk_id="r"))

    assert spec.kernel.endswith(f"{UUID}/kernel")
    assert spec.initrd.endswith(f"{UUID}/ramdisk")
    assert spec.cmdline == ("root=/dev/vda console=tty0 console=ttyS0 console=hvc0 no_timer_check")
    assert spec.boot_devices == ()


def test_windows_guest():
    """Windows gets local time, and Hyper-V's help where KVM can give it."""
    server = a_server({"os_type": "windows"})
    emulated, accelerated = a_guest(server), a_guest(server, policy=KVM)

    assert (emulated.clock_offset, emulated.hyperv) == ("localtime", False)
    assert (accelerated.clock_offset, accelerated.hyperv) == ("localtime", True)


def test_no_graphics_means_no_screen_and_no_tablet():
    """Without VNC the guest has neither video card nor USB tablet."""
    spec = a_guest(a_server(), policy=replace(QEMU, vnc_listen=None))

    assert (spec.graphics, spec.video_model, spec.input_devices) == ((), None, ())
    assert spec.usb_model == "none"


def test_cpu_shared_set_confines_floating_guests():
    """A guest without NUMA topology runs on the shared CPUs only."""
    spec = a_guest(a_server(), policy=replace(QEMU, cpu_shared_set=frozenset({1})))

    assert spec.cpuset == {1}


def test_offline_shared_cpus_are_refused():
    """A shared set that names CPUs the host lacks is a host's fault: another may do."""
    with pytest.raises(errors.UnsupportedByHost, match="cpu_shared_set"):
        a_guest(a_server(), policy=replace(QEMU, cpu_shared_set=frozenset({7})))


def test_emulating_another_architecture():
    """hw_emulation_architecture gives a QEMU guest with a model of that architecture."""
    image = {"hw_emulation_architecture": "aarch64", "hw_machine_type": "virt"}
    spec = a_guest(a_server(image), policy=KVM)

    assert (spec.arch, spec.virt_type, spec.machine, spec.firmware) == (
        "aarch64",
        "qemu",
        "virt",
        "uefi",
    )
    assert (spec.cpu.mode, spec.cpu.model) == ("custom", "cortex-a57")


def test_an_unknown_architecture_is_refused():
    """The message says what the host offers."""
    with pytest.raises(errors.UnsupportedByHost, match="riscv64.*aarch64/qemu"):
        a_guest(a_server({"hw_architecture": "riscv64"}))


TPM_HOST = replace(QEMU, swtpm=frozenset({"user", "deployment"}))


def test_image_tpm_is_refused_clearly():
    """Where the host offers none, or keeps no such key, whoever asks for it."""
    with pytest.raises(errors.UnsupportedByHost, match="swtpm_enabled"):
        a_guest(a_server({"hw_tpm_version": "2.0"}))
    specs = {"hw:tpm_version": "2.0", "hw:tpm_secret_security": "host"}
    with pytest.raises(errors.UnsupportedByHost, match="hw:tpm_secret_security = host"):
        a_guest(a_server(specs=specs), policy=TPM_HOST)
    only_host = replace(QEMU, swtpm=frozenset({"host"}))
    with pytest.raises(errors.UnsupportedByHost, match="user.*has host"):
        a_guest(a_server({"hw_tpm_version": "2.0"}), policy=only_host)
    assert a_guest(a_server(specs=specs), policy=only_host).tpm == ("tpm-tis", "2.0")


@pytest.mark.parametrize(
    ("wishes", "tpm"),
    [
        ({"hw_tpm_version": "1.2"}, ("tpm-tis", "1.2")),
        ({"hw_tpm_version": "2.0", "hw_tpm_model": "tpm-crb"}, ("tpm-crb", "2.0")),
        ({}, None),
    ],
)
def test_an_emulated_tpm_reaches_the_guest(wishes, tpm):
    """With the model that nova-compute takes where none is named."""
    spec = a_guest(a_server(wishes), policy=TPM_HOST, tpm_secret="k1")

    assert (spec.tpm, spec.tpm_secret) == (tpm, "k1")


def test_a_tpm_that_the_hypervisor_does_not_have_is_refused():
    """swtpm may be built without TPM 1.2."""
    traits = CAPABILITIES.traits | {"COMPUTE_SECURITY_TPM_TIS", "COMPUTE_SECURITY_TPM_2_0"}
    capabilities = replace(CAPABILITIES, traits=traits)
    with pytest.raises(errors.UnsupportedByHost, match="1_2"):
        a_guest(
            a_server({"hw_tpm_version": "1.2"}), policy=TPM_HOST, capabilities=capabilities
        )  # fmt: skip


def test_block_device_names_and_boot_menu_reach_the_guest():
    """A chosen device name is the one that the guest's disk has."""
    bdm = BlockDevice("b1", "image", "local", boot_index=0, device_name="/dev/vdc")
    spec = a_guest(a_server({"hw_boot_menu": "true"}), bdms=(bdm,))

    assert spec.disks[0].target == "vdc"
    assert spec.boot_menu is True


def test_policy_reads_nova_conf():
    """HostPolicy.from_conf works on the agent's own options."""
    conf = cfg.ConfigOpts()
    nova_lite.conf.register_opts(conf)
    conf([])
    conf.set_override("virt_type", "qemu", "libvirt")
    conf.set_override("hw_machine_type", ["x86_64=q35"], "libvirt")
    conf.set_override("cpu_shared_set", "0-3,^1", "compute")

    policy = HostPolicy.from_conf(conf, package_version="9")

    assert (policy.virt_type, policy.machine_types) == ("qemu", {"x86_64": "q35"})
    assert policy.cpu_shared_set == {0, 2, 3}
    assert policy.disk_format == "qcow2"
    assert policy.package_version == "9"


@pytest.mark.parametrize(
    ("pointer", "devices"), [(None, (("tablet", "usb"),)), ("ps2mouse", ()), ("usbtablet", 1)]
)
def test_pointer_and_apic_are_those_of_nova_conf(pointer, devices):
    """[DEFAULT]pointer_model and [workarounds]libvirt_disable_apic; unset is nova's default."""
    conf = cfg.ConfigOpts()
    nova_lite.conf.register_opts(conf)
    conf([])
    if pointer:
        conf.set_override("pointer_model", pointer)
        conf.set_override("libvirt_disable_apic", True, "workarounds")

    guest = a_guest(a_server(), policy=HostPolicy.from_conf(conf))

    assert guest.input_devices == ((("tablet", "usb"),) if devices else ())
    assert guest.apic is (pointer is None)
