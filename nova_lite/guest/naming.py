"""Names and buses of disks: which bus a device uses, and the next free name on it."""

from __future__ import annotations

from collections.abc import Collection

from nova_lite.errors import InvalidBlockDevice, TooManyDiskDevices
from nova_lite.guest.machine import Machine
from nova_lite.guest.properties import Properties
from nova_lite.guest.values import DISK_BUSES

PREFIXES = {"virtio": "vd", "ide": "hd", "scsi": "sd", "sata": "sd", "usb": "sd", "fdc": "fd"}
IDE_DISKS = 4  # two channels with two devices each
SCSI_CDROM_ARCHES = ("aarch64", "ppc", "ppc64", "ppc64le", "s390", "s390x")


def strip(device_name: str | None) -> str | None:
    """``vda`` for ``/dev/vda``."""
    return device_name.removeprefix("/dev/") if device_name else None


def suffix(index: int) -> str:
    """``a`` for 0, ``z`` for 25, ``aa`` for 26, as Linux counts disks."""
    letters = ""
    while index >= 0:
        letters = chr(ord("a") + index % 26) + letters
        index = index // 26 - 1
    return letters


def next_name(bus: str, taken: Collection[str], *, prefix: str | None, limit: int | None) -> str:
    """The first name on ``bus`` that is not ``taken``.

    :param prefix: [libvirt] disk_prefix, used for every bus when set
    :param limit: how many disks a guest may have, None for no limit; IDE has four in any case
    :raises TooManyDiskDevices: all names are taken
    """
    maximum = IDE_DISKS if bus == "ide" else limit
    index = 0
    while maximum is None or index < maximum:
        name = (prefix or PREFIXES[bus]) + suffix(index)
        if name not in taken:
            return name
        index += 1
    raise TooManyDiskDevices(
        f"no device name left on the {bus} bus: at most {maximum} disks; ask for fewer, or for "
        f"another bus (image property hw_disk_bus)"
    )


def bus_of_name(name: str) -> str:
    """The usual bus of a device name.

    :raises InvalidBlockDevice: no bus uses such names
    """
    buses = {"vd": "virtio", "hd": "ide", "sd": "scsi", "fd": "fdc"}
    if name[:2] not in buses:
        raise InvalidBlockDevice(
            f"device name /dev/{name} is not possible here; use /dev/vdX, /dev/sdX or /dev/hdX"
        )
    return buses[name[:2]]


def bus_for(kind: str, properties: Properties, machine: Machine) -> str:
    """The bus of a disk, cdrom, lun or floppy: the image's wish or this machine's usual one."""
    if kind == "lun":
        return "scsi"
    wish = properties.image(f"hw_{kind}_bus")
    if wish:
        return str(wish)
    if kind == "cdrom":
        if machine.arch in SCSI_CDROM_ARCHES:
            return "scsi"
        return "sata" if machine.is_q35 else "ide"  # q35 has no IDE controller
    return "fdc" if kind == "floppy" else "virtio"


def usable_bus(bus: str | None) -> bool:
    return bus in DISK_BUSES
