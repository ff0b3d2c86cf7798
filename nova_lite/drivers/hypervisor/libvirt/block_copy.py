"""Copies of disks that guests are using."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find, is_invalid
from nova_lite.errors import HypervisorError

# The end waits until what the guest wrote last has arrived in the copy.
FINISH_TIMEOUT = 120.0


class BlockCopy(Calls):
    """The part of the Hypervisor contract that copies disks beside a running guest."""

    def mirror_disk(self, uuid: str, disk: Path, target: Path, disk_format: str) -> None:
        def mirror(domain: Any) -> None:
            if _mirror(domain, disk) is not None:
                return
            # A persistent guest may have such a job only if its end with QEMU is accepted.
            flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
            domain.blockCopy(str(disk), _destination(target, disk_format), {}, flags)

        self._with_domain(f"copy disk {disk} of guest {uuid}", uuid, mirror)

    def mirror_ready(self, uuid: str, disk: Path) -> bool:
        return self._with_domain(
            f"look at the copy of disk {disk} of guest {uuid}",
            uuid,
            lambda domain: _needed(_mirror(domain, disk), disk).get("ready") == "yes",
        )

    def finish_mirror(self, uuid: str, disk: Path) -> None:
        def finish(domain: Any) -> None:
            if _needed(_mirror(domain, disk), disk).get("ready") != "yes":
                raise HypervisorError(f"the copy of disk {disk} is not complete yet")
            domain.blockJobAbort(str(disk), 0)

        what = f"finish the copy of disk {disk} of guest {uuid}"
        self._with_domain(what, uuid, finish, FINISH_TIMEOUT)

    def drop_mirror(self, uuid: str, disk: Path) -> None:
        def drop(connection: Any) -> None:
            domain = find(connection, uuid)
            if domain is None:
                return
            try:
                if _mirror(domain, disk) is not None:
                    domain.blockJobAbort(str(disk), 0)
            except libvirt.libvirtError as error:
                if not is_invalid(error):  # it has ended by itself, or its guest has
                    raise

        self._call(f"end the copy of disk {disk} of guest {uuid}", drop, FINISH_TIMEOUT)


def _destination(target: Path, disk_format: str) -> str:
    disk = ET.Element("disk", type="file")
    ET.SubElement(disk, "source", file=str(target))
    ET.SubElement(disk, "driver", name="qemu", type=disk_format)
    return ET.tostring(disk, encoding="unicode")


def _mirror(domain: Any, disk: Path) -> ET.Element | None:
    """What the domain's XML says of the copy that is being made of a disk."""
    for element in ET.fromstring(domain.XMLDesc(0)).findall("devices/disk"):
        source = element.find("source")
        if source is not None and source.get("file") == str(disk):
            return element.find("mirror")
    return None


def _needed(mirror: ET.Element | None, disk: Path) -> ET.Element:
    if mirror is None:
        raise HypervisorError(
            f"the copy of disk {disk} ended before it was complete: is its file system full, or "
            "did the guest power off?"
        )
    return mirror
