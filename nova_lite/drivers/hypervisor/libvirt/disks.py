"""Disks that come and go while their guest runs, or is off."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import count
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml, slots
from nova_lite.drivers.hypervisor.libvirt.live_xml import FoundDisk
from nova_lite.drivers.hypervisor.libvirt.releases import Releases, refuse_saved
from nova_lite.drivers.hypervisor.libvirt.xml_disks import add_disk
from nova_lite.errors import DomainNotFound, HypervisorError
from nova_lite.model.domain import DiskSpec
from nova_lite.model.host import GuestDisk

LOG = logging.getLogger(__name__)

# Opening a volume waits for the storage behind it.
ATTACH_TIMEOUT = 120.0
# What else its user can do who has no slot for another disk.
ELSEWHERE = (
    "or give its image hw_disk_bus=scsi and hw_scsi_model=virtio-scsi and rebuild it"
)


class Disks(Releases):
    """The part of the Hypervisor contract that plugs disks in and out."""

    def disks(self, uuid: str) -> list[GuestDisk]:
        return self._with_domain(f"read the disks of guest {uuid}", uuid, _disks)

    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        def attach(domain: Any) -> None:
            flags = 0
            for place in slots.places(domain):
                if not _present(disk, _found(domain, place)):
                    flags |= place
            if not flags:
                return
            if domain.hasManagedSaveImage(0):
                raise HypervisorError(f"guest {uuid} is suspended: resume or stop it first")
            slots.attach(domain, _render(domain, disk), flags, ELSEWHERE)

        what = f"attach disk {disk.serial} to guest {uuid}"
        self._with_domain(what, uuid, attach, ATTACH_TIMEOUT)

    def detach_disk(self, uuid: str, serial: str) -> None:
        try:
            self._with_domain(f"look at guest {uuid}", uuid, lambda d: refuse_saved(d, serial))
            self._release(uuid, f"disk {serial}", serial, lambda d: _alias(d, serial))
            what = f"remove disk {serial} from the definition of guest {uuid}"
            self._with_domain(what, uuid, lambda domain: _undefine(domain, serial))
        except DomainNotFound:
            LOG.info("Guest %s is gone, and disk %s with it", uuid, serial)

    def resize_disk(self, uuid: str, serial: str, size_bytes: int) -> None:
        def resize(domain: Any) -> None:
            if not domain.isActive():
                return
            disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE, serial)
            if disk is None:
                raise HypervisorError(f"guest {uuid} has no disk {serial}")
            domain.blockResize(disk.target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

        self._with_domain(f"resize disk {serial} of guest {uuid}", uuid, resize, ATTACH_TIMEOUT)

    def disk_size(self, uuid: str, serial: str) -> int | None:
        def size(domain: Any) -> int | None:
            if not domain.isActive():
                return None
            disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE, serial)
            if disk is None:
                raise HypervisorError(f"guest {uuid} has no disk {serial}")
            return int(domain.blockInfo(disk.target)[0])

        return self._with_domain(f"read the size of disk {serial} of guest {uuid}", uuid, size)


def _found(domain: Any, place: int) -> list[FoundDisk]:
    """The disks in one of the places; of a guest that is off, none are plugged."""
    if place == libvirt.VIR_DOMAIN_AFFECT_CONFIG:
        return live_xml.disks(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    return live_xml.disks(domain.XMLDesc(0)) if domain.isActive() else []


def _by_serial(domain: Any, place: int, serial: str) -> FoundDisk | None:
    return next((disk for disk in _found(domain, place) if disk.serial == serial), None)


def _disks(domain: Any) -> list[GuestDisk]:
    def known(place: int) -> list[tuple[str, str | None, str]]:
        return [(disk.target, disk.serial, disk.source) for disk in _found(domain, place)]

    defined = known(libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    plugged = known(libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return [
        GuestDisk(*disk, plugged=disk in plugged, defined=disk in defined)
        for disk in dict.fromkeys(defined + plugged)
    ]


def _present(disk: DiskSpec, found: list[FoundDisk]) -> bool:
    """Whether ``disk`` is among those found; raises HypervisorError where another is in its way."""
    for other in found:
        if other.serial == disk.serial:
            if other.source != disk.source:
                raise HypervisorError(
                    f"{other.target} is disk {disk.serial}, but from {other.source}, not from "
                    f"{disk.source}"
                )
            return True
    taken = next((other for other in found if other.target == disk.target), None)
    if taken is not None:
        raise HypervisorError(f"{disk.target} is another disk already: {taken.source}")
    return False


def _render(domain: Any, disk: DiskSpec) -> str:
    """The device; libvirt would use only seven of the places on a virtio-scsi controller."""
    if disk.bus == "scsi" and disk.unit is None:
        xmls = (domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        if live_xml.has_virtio_scsi(xmls[0]):
            taken = {unit for xml in xmls for unit in live_xml.scsi_units(xml)}
            disk = replace(disk, unit=next(unit for unit in count() if unit not in taken))
    return ET.tostring(add_disk(ET.Element("devices"), disk), encoding="unicode")


def _alias(domain: Any, serial: str) -> str | None:
    """libvirt's name of a disk that the guest has now; None: it has it not."""
    disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE, serial)
    return None if disk is None else disk.alias


def _undefine(domain: Any, serial: str) -> None:
    disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG, serial)
    if disk is not None:
        domain.detachDeviceFlags(disk.xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
