"""Disks plugged into guests of a real libvirtd: full boards, encrypted volumes, limits."""

from __future__ import annotations

import shutil
import subprocess
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import HypervisorError, NoFreeSlot
from nova_lite.guest import naming
from nova_lite.model.domain import DiskSpec
from tests.contract.hypervisor.test_hypervisor_contract import real_hypervisor
from tests.fakes.guests import tiny_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.libvirt_driver import connected

pytestmark = pytest.mark.libvirt

MIB = 1024**2
PASSPHRASE = bytes(range(32)).hex()


@pytest.fixture
def driver(libvirt_uri: str) -> Iterator[Hypervisor]:
    with connected(real_hypervisor(libvirt_uri)) as hypervisor:
        yield hypervisor


def running(driver: Hypervisor, directory: Path, **changes: object) -> str:
    """The uuid of a guest that runs."""
    spec = tiny_guest(directory, **changes)
    driver.define(spec)
    driver.start(spec.uuid)
    return spec.uuid


def blank(directory: Path, target: str, bus: str = "virtio") -> DiskSpec:
    """An empty disk of a volume."""
    volume = str(uuid.uuid4())
    path = directory / volume
    with path.open("wb") as file:
        file.truncate(MIB)
    return DiskSpec(target, bus, str(path), serial=volume, alias=volume)


def plug(driver: Hypervisor, server: str, directory: Path, count: int, bus: str = "virtio") -> None:
    """Attach disks from vdb (virtio) or sdb on."""
    taken = {"vda", "sda"}
    for _ in range(count):
        target = naming.next_name(bus, taken, prefix=None, limit=None)
        taken.add(target)
        driver.attach_disk(server, blank(directory, target, bus))


@pytest.mark.parametrize(
    ("machine", "ports", "advice"),
    [("q35", 12, "num_pcie_ports"), ("pc", 0, "hw_scsi_model=virtio-scsi")],
)
def test_a_full_board_says_what_to_change(
    driver: Hypervisor, tmp_path: Path, machine: str, ports: int, advice: str
) -> None:
    """PCIe ports are for nova.conf to add; where none can be, SCSI disks need no slot."""
    server = running(driver, tmp_path, machine=machine, pcie_ports=ports)
    with pytest.raises(NoFreeSlot, match=advice):
        plug(driver, server, tmp_path, 31)

    before = driver.disks(server)
    assert len(before) > 5
    assert all(disk.plugged and disk.defined for disk in before)


def test_26_disks_on_one_guest(driver: Hypervisor, tmp_path: Path) -> None:
    """No board has slots for so many; one virtio-scsi controller has places for 256."""
    server = running(driver, tmp_path, machine="q35", scsi_model="virtio-scsi")
    plug(driver, server, tmp_path, 26, "scsi")

    assert len(driver.disks(server)) == 1 + 26


@pytest.fixture(scope="module")
def luks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LUKS volume as Cinder makes one: the passphrase is the key in hex."""
    directory = tmp_path_factory.mktemp("luks")
    (directory / "key").write_text(PASSPHRASE)
    secret = f"secret,id=key,file={directory / 'key'}"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "luks", "--object", secret, "-o",
         "key-secret=key,iter-time=10", directory / "volume", "8M"],
        check=True,
    )  # fmt: skip
    return directory / "volume"


@pytest.fixture
def encrypted(driver: Hypervisor, tmp_path: Path, luks: Path) -> Iterator[DiskSpec]:
    """The disk of such a volume."""
    disk = blank(tmp_path, "vdb")
    shutil.copyfile(luks, disk.source)
    yield disk
    driver.forget_secret(str(disk.serial))


def test_a_guest_sees_what_is_in_an_encrypted_volume(
    driver: Hypervisor, tmp_path: Path, encrypted: DiskSpec, private_libvirtd: PrivateLibvirtd
) -> None:
    """Without its header; the passphrase stands in no definition."""
    server = running(driver, tmp_path)
    secret = driver.set_secret(str(encrypted.serial), PASSPHRASE)
    driver.attach_disk(server, replace(encrypted, secret_uuid=secret))

    info = private_libvirtd.run("virsh", "-q", "domblkinfo", server, "vdb").stdout.split()
    assert info[1] == str(8 * MIB)
    assert secret in driver.definition(server)
    assert PASSPHRASE not in driver.definition(server)
    driver.destroy(server)
    driver.start(server)
    driver.resize_disk(server, str(encrypted.serial), 9 * MIB)
    info = private_libvirtd.run("virsh", "-q", "domblkinfo", server, "vdb").stdout.split()
    assert info[1] == str(9 * MIB)


def test_a_wrong_passphrase_leaves_the_guest_as_it_was(
    driver: Hypervisor, tmp_path: Path, encrypted: DiskSpec
) -> None:
    """Neither now nor at its next start has it the disk."""
    server = running(driver, tmp_path)
    before = driver.disks(server)
    wrong = "ab" * 32
    secret = driver.set_secret(str(encrypted.serial), wrong)
    with pytest.raises(HypervisorError) as caught:
        driver.attach_disk(server, replace(encrypted, secret_uuid=secret))

    assert wrong not in str(caught.value)
    assert driver.disks(server) == before


def test_limits_and_modes_hold_at_once(driver: Hypervisor, tmp_path: Path) -> None:
    """What a disk is plugged in with is what the running guest has."""
    server = running(driver, tmp_path)
    driver.attach_disk(
        server,
        replace(
            blank(tmp_path, "vdb"),
            readonly=True,
            shareable=True,
            cache="none",
            iotune={"total_iops_sec": 77, "read_bytes_sec": 1024},
            logical_block_size=512,
            physical_block_size=4096,
        ),
    )
    import libvirt

    link = libvirt.open(driver._connection.uri)  # type: ignore[attr-defined]
    try:
        domain = link.lookupByUUIDString(server)
        found = next(
            disk
            for disk in ET.fromstring(domain.XMLDesc(0)).findall("devices/disk")
            if disk.find("target[@dev='vdb']") is not None
        )
        assert domain.blockIoTune("vdb")["total_iops_sec"] == 77
    finally:
        link.close()
    assert found.find("readonly") is not None and found.find("shareable") is not None
    assert found.find("blockio[@physical_block_size='4096']") is not None
