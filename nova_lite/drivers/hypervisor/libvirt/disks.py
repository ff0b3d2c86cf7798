"""Disks that come and go while their guest runs, or is off."""

from __future__ import annotations

import logging
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import count
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls, is_invalid
from nova_lite.drivers.hypervisor.libvirt.live_xml import FoundDisk
from nova_lite.drivers.hypervisor.libvirt.removals import Removals
from nova_lite.drivers.hypervisor.libvirt.xml_disks import add_disk
from nova_lite.errors import DeviceDetachFailed, DomainNotFound, HypervisorError, NoFreeSlot
from nova_lite.model.domain import DiskSpec
from nova_lite.model.host import GuestDisk

LOG = logging.getLogger(__name__)

# Opening a volume waits for the storage behind it.
ATTACH_TIMEOUT = 120.0
NO_DEVICE = "ua-nova-lite-none"
# Seconds between looks whether the guest has let go, for the case that libvirt does not tell.
LOOK_INTERVAL = 1.0
REFUSED = "the guest refused to release it; is it in use there?"
# QEMU's words for a request that it has from before, and that the guest may still heed.
_PENDING = ("in the process of unplug", "guest is busy")


class Disks(Calls):
    """The part of the Hypervisor contract that plugs disks in and out."""

    _conf: Any
    _removals: Removals

    def disks(self, uuid: str) -> list[GuestDisk]:
        return self._with_domain(f"read the disks of guest {uuid}", uuid, _disks)

    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        def attach(domain: Any) -> None:
            flags = 0
            for place in _places(domain):
                if not _present(disk, _found(domain, place)):
                    flags |= place
            if not flags:
                return
            if domain.hasManagedSaveImage(0):
                raise HypervisorError(f"guest {uuid} is suspended: resume or stop it first")
            try:
                domain.attachDeviceFlags(_render(domain, disk), flags)
            except libvirt.libvirtError as error:
                if "No more available PCI" in error.get_error_message():
                    raise NoFreeSlot(_no_slot(domain)) from None
                raise

        what = f"attach disk {disk.serial} to guest {uuid}"
        self._with_domain(what, uuid, attach, ATTACH_TIMEOUT)

    def detach_disk(self, uuid: str, serial: str) -> None:
        try:
            self._with_domain(f"look at guest {uuid}", uuid, lambda d: _refuse_saved(d, serial))
            self._unplug(uuid, serial)
            what = f"remove disk {serial} from the definition of guest {uuid}"
            self._with_domain(what, uuid, lambda domain: _undefine(domain, serial))
        except DomainNotFound:
            LOG.info("Guest %s is gone, and disk %s with it", uuid, serial)

    def _unplug(self, uuid: str, serial: str) -> None:
        """Take the disk from the running guest, which has to agree."""
        what = f"wait for what guest {uuid} is busy with"
        self._with_domain(what, uuid, lambda domain: _refuse_busy(domain, serial))
        attempts, timeout = self._conf.device_detach_attempts, self._conf.device_detach_timeout
        for attempt in range(1, attempts + 1):
            alias = self._plugged(uuid, serial)
            if alias is None:
                return
            LOG.debug("Asking guest %s for disk %s, %d of %d", uuid, serial, attempt, attempts)
            with self._removals.expect(uuid, alias) as answer:
                self._with_domain(
                    f"ask guest {uuid} for disk {serial}", uuid, lambda d: _ask_for(d, serial)
                )
                deadline = time.monotonic() + timeout
                while (left := deadline - time.monotonic()) > 0:
                    answer.wait(min(left, LOOK_INTERVAL))
                    if self._plugged(uuid, serial) is None:
                        return
                    if answer.refused:
                        raise DeviceDetachFailed(serial, REFUSED)
        raise DeviceDetachFailed(
            serial,
            f"the guest did not release it, asked {attempts} times over {attempts * timeout} s; "
            "is its operating system up?",
        )

    def _plugged(self, uuid: str, serial: str) -> str | None:
        """libvirt's name of a disk that the guest has now; None: it has it not."""

        def alias(domain: Any) -> str | None:
            disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE, serial)
            return None if disk is None else disk.alias

        return self._with_domain(f"look for disk {serial} of guest {uuid}", uuid, alias)

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


def _places(domain: Any) -> list[int]:
    """Where the domain has disks: in its definition and, when it is active, right now."""
    live = [libvirt.VIR_DOMAIN_AFFECT_LIVE] if domain.isActive() else []
    return [*live, libvirt.VIR_DOMAIN_AFFECT_CONFIG]


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


def _ask_for(domain: Any, serial: str) -> None:
    """Ask the guest to let go of a disk, without waiting for its answer."""
    disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE, serial)
    if disk is None:
        return
    try:
        domain.detachDeviceAlias(disk.alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        code, message = error.get_error_code(), error.get_error_message()
        gone = code == libvirt.VIR_ERR_DEVICE_MISSING or is_invalid(error) and not domain.isActive()
        if code == libvirt.VIR_ERR_OPERATION_FAILED and "rejected" in message:
            raise DeviceDetachFailed(serial, REFUSED) from None
        if not gone and not any(words in message for words in _PENDING):
            raise


def _undefine(domain: Any, serial: str) -> None:
    disk = _by_serial(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG, serial)
    if disk is not None:
        domain.detachDeviceFlags(disk.xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _refuse_saved(domain: Any, serial: str) -> None:
    """What a guest had when its memory was saved it needs to go on from there."""
    if not domain.isActive() and domain.hasManagedSaveImage(0):
        raise DeviceDetachFailed(serial, "the guest is suspended: resume or stop it first")


def _refuse_busy(domain: Any, serial: str) -> None:
    """A disk may come yet: plugging it in, given up by an agent, goes on while its storage hangs.

    libvirt serves one such request at a time, so that one about a device that no guest has either
    finds that nothing is under way or does not get through.
    """
    if not domain.isActive():
        return
    try:
        domain.detachDeviceAlias(NO_DEVICE, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise DeviceDetachFailed(
                serial,
                "libvirt is still busy with an earlier request to the guest; is the storage of one "
                "of its volumes out of reach?",
            ) from None


def _no_slot(domain: Any) -> str:
    more = "or give its image hw_disk_bus=scsi and hw_scsi_model=virtio-scsi and rebuild it"
    if live_xml.has_pcie(domain.XMLDesc(0)):
        return (
            "the guest has no free PCIe port: raise [libvirt]num_pcie_ports (at most 28) and hard "
            f"reboot the server, {more}"
        )
    return f"the guest has no free PCI slot: detach another device, {more}"
