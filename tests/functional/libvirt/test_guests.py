"""Guests with everything that a DomainSpec can say, defined and started by a real libvirtd."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor, domain_xml
from nova_lite.errors import HypervisorError
from nova_lite.model.domain import (
    CpuSpec,
    CpuTune,
    DiskSpec,
    DomainSpec,
    GraphicsSpec,
    GuestNumaCell,
    MemoryBacking,
    NicSpec,
)
from nova_lite.model.states import PowerState
from tests.fakes.guests import tiny_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.libvirt_driver import connected, driver_at

pytestmark = pytest.mark.libvirt

METADATA = {
    "package": {"version": "1.0"},
    "name": "web <1> & \x07co",
    "creationTime": "2026-01-02 03:04:05",
    "flavor": {
        "name": "m1.tiny",
        "id": "1",
        "memory": 64,
        "disk": 1,
        "extraSpecs": {"hw:cpu_policy": "shared"},
    },
    "image": {"uuid": "9d1c", "minDisk": 0, "properties": {"hw_machine_type": "q35"}},
    "owner": {
        "user": {"uuid": "u1", "name": "alice"},
        "project": {"uuid": "p1", "name": "demo"},
    },
    "root": {"type": "image", "uuid": "9d1c"},
    "ports": [
        {"uuid": "port1", "ips": [{"type": "fixed", "address": "10.9.0.4", "ipVersion": "4"}]}
    ],
}
SMBIOS = {"manufacturer": "OpenStack Foundation", "product": "OpenStack Nova", "family": "VM"}


@pytest.fixture
def connection(libvirt_uri: str) -> Iterator[Any]:
    link = libvirt.open(libvirt_uri)
    yield link
    link.close()


@pytest.fixture
def driver(libvirt_uri: str) -> Iterator[LibvirtHypervisor]:
    with connected(driver_at(libvirt_uri)) as hypervisor:
        yield hypervisor


def q35(directory: Path) -> DomainSpec:
    """A guest with most kinds of devices."""
    spec = tiny_guest(directory)
    blank = spec.disks[0].source
    return replace(
        spec,
        title="two\nlines",
        machine="q35",
        memory_kib=128 * 1024,
        vcpus=2,
        cpu=CpuSpec(
            mode="custom",
            model="qemu64",
            match="exact",
            sockets=1,
            cores=2,
            features=(("disable", "svm"),),
        ),  # fmt: skip
        disks=(
            replace(
                spec.disks[0],
                cache="none",
                io="native",
                discard="unmap",
                serial="b1f7",
                alias="root",
                boot_order=1,
                iotune={"total_iops_sec": 100},
            ),
            DiskSpec("sda", "scsi", blank + ".scsi", unit=0),
            DiskSpec("sdb", "sata", blank + ".cd", kind="cdrom", readonly=True),
        ),
        nics=(NicSpec("52:54:00:00:00:01", "tap", target="tapguest1", mtu=1400, driver="qemu"),),
        graphics=(GraphicsSpec("vnc", "127.0.0.1", keymap="de"),),
        video_model="virtio",
        video_ram_mb=16,
        rng_rate=(1024, 1000),
        watchdog="reset",
        input_devices=(("tablet", "usb"), ("keyboard", "virtio")),
        scsi_model="virtio-scsi",
        usb_model="qemu-xhci",
        pcie_ports=12,
        guest_agent=True,
        sound_model="ich9",
        viommu_model="intel",
        tpm=("tpm-crb", "2.0"),
        hide_hypervisor=True,
        pmu=False,
        hyperv=True,
        boot_menu=True,
        smbios={**SMBIOS, "uuid": spec.uuid},
        metadata=METADATA,
    )


def uefi(directory: Path) -> DomainSpec:
    return tiny_guest(directory, machine="q35", firmware="uefi", memory_kib=128 * 1024)


def placed(directory: Path) -> DomainSpec:
    """Placement, tuning and memory backing; not startable here (no cgroups, no huge pages)."""
    return tiny_guest(
        directory,
        vcpus=2,
        memory_kib=128 * 1024,
        cpu=CpuSpec(
            mode="host-model",
            sockets=2,
            maxphysaddr=("passthrough", None),
            numa_cells=(
                GuestNumaCell(0, frozenset({0}), 64 * 1024, host_node=0, shared_memory=True),
                GuestNumaCell(1, frozenset({1}), 64 * 1024, host_node=0),
            ),
        ),
        cpu_tune=CpuTune(
            shares=512,
            quota_us=20000,
            period_us=100000,
            pins={0: frozenset({0}), 1: frozenset({0, 1})},
            emulator_pin=frozenset({1}),
            realtime=frozenset({1}),
        ),
        memory_backing=MemoryBacking(pages=((2048, (0,)),), locked=True, nosharepages=True),
        cpuset=frozenset({0, 1}),
        virt_type="kvm",
        hyperv=True,
        tb_cache_mb=None,
        clock_offset="localtime",
        perf_events=("cmt",),
        serial_tcp=("127.0.0.1", (10000, 10007)),
        kernel="/boot/vmlinuz",
        initrd="/boot/initrd",
        cmdline="console=ttyS0 quiet",
    )


def networks(directory: Path) -> DomainSpec:
    """Every way to plug an interface."""
    return tiny_guest(
        directory,
        memory_backing=MemoryBacking(shared=True),
        graphics=(GraphicsSpec("spice", "127.0.0.1", tls=True),),
        usb_model="qemu-xhci",
        usb_redirections=1,
        nics=(
            NicSpec("52:54:00:00:00:01", "tap", target="tap1", queues=2, driver="vhost",
                    packed=True, bandwidth={"inbound": {"average": 10, "peak": 20}}),
            NicSpec("52:54:00:00:00:02", "ovs", target="tap2", bridge="br-int",
                    interface_id="09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f", boot_order=1),
            NicSpec("52:54:00:00:00:03", "bridge", bridge="brq1", model="e1000", mtu=9000),
            NicSpec("52:54:00:00:00:04", "vhostuser", source_path="/run/vhu1",
                    source_mode="server", rx_queue_size=512, tx_queue_size=512),
            NicSpec("52:54:00:00:00:05", "direct", source_path="eth9", source_mode="passthrough"),
            NicSpec("52:54:00:00:00:06", "hostdev", source_path="0000:06:10.1"),
            NicSpec("52:54:00:00:00:07", "hostdev", source_path="0000:06:10.2", model=None,
                    vlan=1021, bandwidth={"inbound": {"average": 10}}),
            NicSpec("52:54:00:00:00:08", "direct", source_path="eth9", driver="vhost", vlan=0,
                    source_mode="passthrough"),
            NicSpec("52:54:00:00:00:09", "pci", source_path="0000:06:00.0", model=None),
            NicSpec("52:54:00:00:00:0a", "vdpa", source_path="/dev/vhost-vdpa-3", model=None,
                    packed=True),
        ),
    )  # fmt: skip


def stateless(directory: Path) -> DomainSpec:
    return replace(uefi(directory), firmware_stateless=True)


def file_backed(directory: Path) -> DomainSpec:
    return tiny_guest(
        directory,
        memory_backing=MemoryBacking(file_backed=True, discard=True),
        machine="q35",
        firmware="uefi",
        secure_boot=True,
        viommu_model="virtio",
        balloon_period_s=None,
    )


@pytest.mark.parametrize("make", [q35, uefi, stateless, placed, networks, file_backed])
def test_libvirt_accepts_every_shape_by_its_schema(
    connection: Any, make: Callable[[Path], DomainSpec], tmp_path: Path
) -> None:
    """The XML passes libvirt's own schema: no element is misspelt and silently ignored."""
    domain = connection.defineXMLFlags(
        domain_xml.render(make(tmp_path)), libvirt.VIR_DOMAIN_DEFINE_VALIDATE
    )
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def test_a_guest_with_everything_starts(
    driver: LibvirtHypervisor, private_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """QEMU takes the whole device zoo, and the tap that another program made."""
    spec = q35(tmp_path)
    for suffix in (".scsi", ".cd"):
        Path(spec.disks[0].source + suffix).write_bytes(b"\0" * 1024**2)
    private_libvirtd.run("ip", "tuntap", "add", "tapguest1", "mode", "tap")
    try:
        driver.define(spec)
        driver.start(spec.uuid)

        assert driver.power_state(spec.uuid) == PowerState.RUNNING
        assert [(device.name, device.bus) for device in driver.devices(spec.uuid)] == [
            ("vda", "pci"), ("sda", "scsi"), ("sdb", "none"), ("52:54:00:00:00:01", "pci")
        ]  # fmt: skip
    finally:
        driver.destroy(spec.uuid)
        private_libvirtd.run("ip", "link", "del", "tapguest1")


def test_metadata_reads_back_as_written(
    driver: LibvirtHypervisor, connection: Any, tmp_path: Path
) -> None:
    """Tools find the nova element under its namespace, with special characters intact."""
    spec = tiny_guest(tmp_path, metadata=METADATA)
    driver.define(spec)
    names = {"nova": "http://openstack.org/xmlns/libvirt/nova/1.1"}
    domain = ET.fromstring(connection.lookupByUUIDString(spec.uuid).XMLDesc(0))
    nova = domain.find("metadata/nova:instance", names)

    assert nova is not None
    assert nova.findtext("nova:name", namespaces=names) == "web <1> & \ufffdco"
    port = nova.find("nova:ports/nova:port", names)
    assert port is not None and port.get("uuid") == "port1"
    user = nova.find("nova:owner/nova:user", names)
    assert user is not None and (user.text, user.get("uuid")) == ("alice", "u1")


def test_metadata_of_a_running_guest_changes_now_and_for_later(
    driver: LibvirtHypervisor, connection: Any, tmp_path: Path
) -> None:
    """There is one nova element afterwards, the same in both definitions."""
    spec = tiny_guest(tmp_path, metadata=METADATA)
    driver.define(spec)
    driver.start(spec.uuid)
    try:
        driver.describe(spec.uuid, {**METADATA, "ports": [{"uuid": "port2"}]})
        names = {"nova": "http://openstack.org/xmlns/libvirt/nova/1.1"}
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            domain = ET.fromstring(connection.lookupByUUIDString(spec.uuid).XMLDesc(flags))
            (nova,) = domain.findall("metadata/*")
            ports = nova.findall("nova:ports/nova:port", names)
            assert [port.get("uuid") for port in ports] == ["port2"]
    finally:
        driver.destroy(spec.uuid)


def test_the_console_log_is_written(driver: LibvirtHypervisor, tmp_path: Path) -> None:
    """Serial output goes to the console log by virtlogd, from the firmware on."""
    spec = tiny_guest(tmp_path, graphics=(), video_model="none")
    driver.define(spec)
    driver.start(spec.uuid)
    assert spec.console_log is not None

    deadline = time.monotonic() + 20
    while not Path(spec.console_log).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_uefi_variables_live_and_die_with_the_guest(
    driver: LibvirtHypervisor, private_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A new definition goes on with the same NVRAM; removing the guest removes it."""
    spec = uefi(tmp_path)
    nvram = private_libvirtd.directory / "lib" / "qemu" / "nvram" / f"{spec.name}_VARS.fd"
    driver.define(spec)
    driver.start(spec.uuid)
    driver.destroy(spec.uuid)
    with nvram.open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"variable")

    driver.define(replace(spec, boot_menu=True))
    driver.start(spec.uuid)
    driver.destroy(spec.uuid)
    assert nvram.read_bytes().endswith(b"variable")

    driver.undefine(spec.uuid)
    assert not nvram.exists()


def test_nvram_can_be_kept(
    driver: LibvirtHypervisor, private_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """keep_nvram leaves the variables for the guest's next definition."""
    spec = uefi(tmp_path)
    driver.define(spec)
    driver.start(spec.uuid)
    driver.destroy(spec.uuid)
    driver.undefine(spec.uuid, keep_nvram=True)

    nvram = private_libvirtd.directory / "lib" / "qemu" / "nvram"
    assert [path.name for path in nvram.iterdir()] == [f"{spec.name}_VARS.fd"]
    (nvram / f"{spec.name}_VARS.fd").unlink()


def test_a_guest_that_cannot_start_says_why(driver: LibvirtHypervisor, tmp_path: Path) -> None:
    """libvirt's reason reaches the error: here the missing disk."""
    spec = tiny_guest(tmp_path)
    Path(spec.disks[0].source).unlink()
    driver.define(spec)

    with pytest.raises(HypervisorError, match=Path(spec.disks[0].source).name):
        driver.start(spec.uuid)
    assert driver.power_state(spec.uuid) == PowerState.SHUTDOWN


def test_translation_cache_is_bounded(
    driver: LibvirtHypervisor, connection: Any, tmp_path: Path
) -> None:
    """tb_cache_mb reaches QEMU's command line."""
    spec = tiny_guest(tmp_path, tb_cache_mb=48)
    driver.define(spec)
    xml = connection.lookupByUUIDString(spec.uuid).XMLDesc(0)
    command = connection.domainXMLToNative("qemu-argv", xml)

    assert "tb-size=48" in command
