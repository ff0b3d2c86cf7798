"""A disk of a running guest that moves to another place while the guest writes to it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find, is_invalid
from nova_lite.drivers.hypervisor.libvirt.xml_disks import SOURCES, add_disk
from nova_lite.errors import GuestNotRunning, HypervisorError
from nova_lite.model.domain import DiskSpec

# The beginning opens the new place, the end waits until the guest's last writes have arrived there.
BEGIN_TIMEOUT = 120.0
FINISH_TIMEOUT = 120.0


@dataclass(frozen=True)
class _Moving:
    """A disk of a guest that is on, and where it is being copied to, if it is."""

    target: str
    source: str
    mirror: str | None
    ready: bool


class DiskMoves(Calls):
    """The part of the Hypervisor contract that moves disks."""

    def begin_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        def begin(domain: Any) -> None:
            if not domain.isActive():
                raise GuestNotRunning(f"Instance {uuid} is not running.")
            found = _needed(domain, serial)
            if disk.source in (found.source, found.mirror):
                return
            if found.mirror is not None:
                raise HypervisorError(f"disk {serial} is being copied to {found.mirror} already")
            xml = ET.tostring(add_disk(ET.Element("devices"), disk), encoding="unicode")
            # The volume is there already. A guest with a definition may have such a job only if
            # its end together with QEMU is accepted: then the disk is where it was.
            flags = (
                libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
                | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
            )
            domain.blockCopy(found.target, xml, {}, flags)

        what = f"begin to move disk {serial} of guest {uuid}"
        self._with_domain(what, uuid, begin, BEGIN_TIMEOUT)

    def move_ready(self, uuid: str, serial: str) -> bool:
        def ready(domain: Any) -> bool:
            found = _find(domain, serial)
            if found is None or found.mirror is None:
                raise HypervisorError(
                    f"the move of disk {serial} ended before it was complete: does the storage "
                    "answer, or did the guest power off?"
                )
            return found.ready

        return self._with_domain(f"look at the move of disk {serial} of guest {uuid}", uuid, ready)

    def finish_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        def finish(domain: Any) -> None:
            found = _needed(domain, serial)
            if found.source == disk.source:
                return
            if found.mirror != disk.source or not found.ready:
                raise HypervisorError(f"the move of disk {serial} is not complete")
            domain.blockJobAbort(found.target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

        what = f"finish the move of disk {serial} of guest {uuid}"
        self._with_domain(what, uuid, finish, FINISH_TIMEOUT)

    def drop_move(self, uuid: str, serial: str) -> None:
        def drop(connection: Any) -> None:
            domain = find(connection, uuid)
            found = _find(domain, serial) if domain is not None else None
            if found is None or found.mirror is None:
                return
            try:
                domain.blockJobAbort(found.target, 0)
            except libvirt.libvirtError as error:
                if not is_invalid(error):  # it has ended by itself, or its guest has
                    raise

        self._call(f"give up the move of disk {serial} of guest {uuid}", drop, FINISH_TIMEOUT)


def _find(domain: Any, serial: str) -> _Moving | None:
    if not domain.isActive():
        return None
    for disk in live_xml.disks(domain.XMLDesc(0)):
        if disk.serial == serial:
            mirror = ET.fromstring(disk.xml).find("mirror")
            ready = mirror is not None and mirror.get("ready") == "yes"
            return _Moving(disk.target, disk.source, _source(mirror), ready)
    return None


def _needed(domain: Any, serial: str) -> _Moving:
    found = _find(domain, serial)
    if found is None:
        raise HypervisorError(f"guest {domain.UUIDString()} has no disk {serial}, or is off")
    return found


def _source(mirror: ET.Element | None) -> str | None:
    source = mirror.find("source") if mirror is not None else None
    if mirror is None or source is None:
        return None
    return source.get(SOURCES.get(mirror.get("type", ""), "name"), "")
