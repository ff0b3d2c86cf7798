"""Graphics, network, firmware and the small devices."""

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.guest import devices
from nova_lite.model.domain import NicSpec
from tests.fakes.servers import CAPABILITIES, FACTS, KVM, QEMU, a_guest, a_server

NIC = NicSpec("fa:16:3e:00:00:01", "tap", target="tap0")


@pytest.mark.parametrize(
    ("image", "specs", "field", "expected"),
    [
        ({"hw_video_model": "vga"}, {}, "video_model", "vga"),
        ({"hw_video_ram": "32"}, {"hw_video:ram_max_mb": "64"}, "video_ram_mb", 32),
        ({}, {"hw_video:ram_max_mb": "64"}, "video_ram_mb", None),
        ({}, {"hw_rng:allowed": "False"}, "rng", None),
        ({}, {"hw_rng:rate_bytes": "100", "hw_rng:rate_period": "10"}, "rng_rate", (100, 10)),
        ({"hw_watchdog_action": "reset"}, {"hw:watchdog_action": "pause"}, "watchdog", "reset"),
        ({"hw_watchdog_action": "disabled"}, {"hw:watchdog_action": "pause"}, "watchdog", None),
        ({}, {"hw:watchdog_action": "poweroff"}, "watchdog", "poweroff"),
        ({"hw_input_bus": "virtio"}, {}, "input_devices",
         (("tablet", "virtio"), ("keyboard", "virtio"))),
        ({"hw_input_bus": "virtio"}, {}, "usb_model", "none"),
        ({"hw_usb_model": "qemu-xhci", "hw_input_bus": "virtio"}, {}, "usb_model", "qemu-xhci"),
        ({"hw_qemu_guest_agent": "yes"}, {}, "guest_agent", True),
        ({}, {"hw:sound_model": "ich9"}, "sound_model", "ich9"),
        ({"img_hide_hypervisor_id": "true"}, {}, "hide_hypervisor", True),
        ({}, {"hide_hypervisor_id": "true"}, "hide_hypervisor", True),
        ({}, {"hw:pmu": "false"}, "pmu", False),
        ({}, {}, "pmu", None),
        ({"hw_machine_type": "q35"}, {"hw:viommu_model": "auto"}, "viommu_model", "virtio"),
        ({}, {"hw:boot_menu": "yes"}, "boot_menu", True),
        ({"hw_boot_menu": "false"}, {"hw:boot_menu": "yes"}, "boot_menu", False),
    ],
)  # fmt: skip
def test_device_properties(image, specs, field, expected):
    """Image properties and extra specs reach the guest with Nova's precedence."""
    assert getattr(a_guest(a_server(image, specs)), field) == expected


@pytest.mark.parametrize(
    ("image", "specs", "words"),
    [
        ({"hw_video_model": "voodoo"}, {}, "hw_video_model.*'voodoo'.*allowed are virtio, vga"),
        ({"hw_video_ram": "32"}, {}, "hw_video:ram_max_mb"),
        ({"hw_rng_model": "tape"}, {}, "hw_rng_model.*virtio"),
        ({"hw_watchdog_action": "bark"}, {}, "disabled, none, pause, poweroff, reset"),
        ({"hw_pmu": "true"}, {"hw:pmu": "false"}, "hw:pmu = False.*hw_pmu = True"),
        ({"hw_pmu": "maybe"}, {}, "true and false"),
        ({}, {"hw:viommu_model": "intel"}, "q35"),
        ({"hw_sound_model": "ac97"}, {"hw:sound_model": "sb16"}, "sound_model"),
        ({"hw_redirected_usb_ports": 16}, {}, "from 0 to 15"),
        ({"hw_vif_model": "ne1"}, {}, "hw_vif_model"),
        ({"hw_disk_bus": "xen"}, {}, "hw_disk_bus.*virtio"),
        ({"hw_tpm_version": "1.2", "hw_tpm_model": "tpm-crb"}, {}, "tpm-crb"),
    ],
)
def test_invalid_values_name_property_and_remedy(image, specs, words):
    """The message names the property and what is allowed."""
    server = a_server(image, specs)
    with pytest.raises(errors.InvalidGuestConfig, match=words):
        devices.nic_model(server, QEMU)
        a_guest(server)


@pytest.mark.parametrize(
    ("trait", "image", "words"),
    [
        ("COMPUTE_GRAPHICS_MODEL_VGA", {"hw_video_model": "qxl"}, "qxl.*offered are vga"),
        ("COMPUTE_STORAGE_BUS_IDE", {}, "disk bus of /dev/vda = virtio"),
        ("COMPUTE_SOUND_MODEL_SB16", {"hw_sound_model": "ac97"}, "ac97"),
    ],
)
def test_models_that_the_hypervisor_lacks(trait, image, words):
    """A model missing from the reported ones sends the server to another host."""
    capabilities = replace(CAPABILITIES, traits=frozenset({trait}))
    with pytest.raises(errors.UnsupportedByHost, match=words):
        a_guest(a_server(image), capabilities=capabilities)


# --- network ----------------------------------------------------------------------------------
def test_nic_model():
    """The image's model, under its newer name, else virtio."""
    assert devices.nic_model(a_server(), QEMU) == "virtio"
    assert devices.nic_model(a_server({"hw_vif_model": "VirtualE1000".lower()}), QEMU) == "e1000"
    assert devices.nic_model(a_server(), replace(QEMU, virtio_nics=False)) is None


@pytest.mark.parametrize(
    ("model", "policy"),
    [("lan9118", KVM), ("netfront", KVM), ("vmxnet", QEMU), ("virtualsriovethernetcard", QEMU)],
)
def test_models_that_these_guests_cannot_have(model, policy):
    """With stock's error: the image is valid elsewhere."""
    with pytest.raises(errors.UnsupportedHardware, match=f"'{policy.virt_type}' virt driver"):
        devices.nic_model(a_server({"hw_vif_model": model}), policy)
    assert devices.nic_model(a_server({"hw_vif_model": "lan9118"}), QEMU) == "lan9118"


@pytest.mark.parametrize(
    ("vcpus", "policy", "expected"),
    [(4, KVM, 4), (1, KVM, None), (4, QEMU, None), (9, replace(KVM, max_queues=2), 2)],
)
def test_queues(vcpus, policy, expected):
    """One queue per vCPU, up to the limit, for KVM guests with several vCPUs."""
    server = a_server({"hw_vif_multiqueue_enabled": "true"}, flavor={"vcpus": vcpus})

    assert devices.nic_queues(server, policy) == expected


def test_no_queues_unless_asked_for():
    """Multiqueue is off by default."""
    assert devices.nic_queues(a_server(flavor={"vcpus": 4}), KVM) is None


def test_queue_sizes_and_drivers():
    """KVM guests with a queue size use vhost, emulated ones QEMU's own driver."""
    policy = replace(KVM, rx_queue_size=512, tx_queue_size=1024)

    fast = a_guest(a_server(), policy=policy, nics=[NIC]).nics[0]
    slow = a_guest(a_server(), nics=[NIC]).nics[0]
    user = a_guest(a_server(), policy=policy, nics=[replace(NIC, plug="vhostuser")]).nics[0]

    assert (fast.driver, fast.rx_queue_size, fast.tx_queue_size) == ("vhost", 512, None)
    assert (slow.driver, slow.rx_queue_size) == ("qemu", None)
    assert (user.rx_queue_size, user.tx_queue_size) == (512, 1024)


def test_bandwidth():
    """quota:vif_* limits the NICs that nobody else limits."""
    server = a_server(specs={"quota:vif_inbound_average": "100", "quota:vif_outbound_peak": "7"})
    taps, passed = a_guest(server, nics=[NIC, replace(NIC, plug="hostdev", shaped=False)]).nics

    assert taps.bandwidth == {"inbound": {"average": 100}, "outbound": {"peak": 7}}
    assert passed.bandwidth == {}


def test_packed_rings():
    """hw_virtio_packed_ring is for virtio only."""
    server = a_server({"hw_virtio_packed_ring": "true"})
    virtio, intel = a_guest(server, nics=[NIC, replace(NIC, model="e1000")]).nics

    assert (virtio.packed, intel.packed) == (True, False)


# --- machine ----------------------------------------------------------------------------------
def test_machine_type_comes_from_image_configuration_or_architecture():
    """In this order."""
    policy = replace(QEMU, machine_types={"x86_64": "q35"})

    assert a_guest(a_server()).machine == "pc"
    assert a_guest(a_server(), policy=policy).machine == "q35"
    assert a_guest(a_server({"hw_machine_type": "pc-q35-7.2"}), policy=policy).machine == (
        "pc-q35-7.2"
    )


def test_unknown_machine_type_is_another_hosts_business():
    """The message lists the machine types that are known here, but for their versions."""
    with pytest.raises(errors.UnsupportedByHost, match="pc-9.9.*known are pc, q35, and versions"):
        a_guest(a_server({"hw_machine_type": "pc-9.9"}))


def test_uefi_and_secure_boot():
    """Secure boot is had with q35 where the firmware can do it."""
    image = {"hw_firmware_type": "uefi", "os_secure_boot": "optional"}

    assert a_guest(a_server(image)).secure_boot is False
    spec = a_guest(a_server({**image, "hw_machine_type": "q35", "hw_firmware_stateless": "yes"}))
    assert (spec.firmware, spec.secure_boot, spec.firmware_stateless) == ("uefi", True, True)


@pytest.mark.parametrize(
    ("image", "capabilities"),
    [
        ({"hw_firmware_type": "uefi"}, {"firmware": frozenset({"bios"})}),
        ({"hw_firmware_type": "uefi", "os_secure_boot": "required"}, {}),
        ({"hw_firmware_type": "uefi", "os_secure_boot": "required", "hw_machine_type": "q35"},
         {"secure_boot": False}),
    ],
)  # fmt: skip
def test_missing_firmware(image, capabilities):
    """Firmware that the host lacks sends the server to another one."""
    with pytest.raises(errors.UnsupportedByHost):
        a_guest(a_server(image), capabilities=replace(CAPABILITIES, **capabilities))


def test_arm_guest():
    """ARM hosts hand their CPU through, start UEFI and add a USB keyboard."""
    facts = replace(FACTS, arch="aarch64", guests=(("aarch64", "kvm", "hvm"),))
    spec = a_guest(a_server(config_drive=True), policy=KVM, facts=facts)

    assert (spec.machine, spec.firmware, spec.cpu.mode) == ("virt", "uefi", "host-passthrough")
    assert spec.input_devices == (("tablet", "usb"), ("keyboard", "usb"))
    assert spec.disks[1].bus == "scsi"
    assert spec.smbios == {}


def test_pcie_ports_only_on_pcie_machines():
    """The old pc machine has no PCI Express to add ports to."""
    policy = replace(QEMU, pcie_ports=12)

    assert a_guest(a_server(), policy=policy).pcie_ports == 0
    assert a_guest(a_server({"hw_machine_type": "q35"}), policy=policy).pcie_ports == 12


def test_no_balloon_statistics():
    """mem_stats_period_seconds=0 turns the balloon off."""
    assert a_guest(a_server(), policy=replace(QEMU, balloon_period_s=0)).balloon_period_s is None
