"""Snapshots of volumes that are files: qcow2 overlays that come and go while the guest writes.

A chain of files is named by the files alone, as Cinder does: they lie beside each other.
"""

from __future__ import annotations

import os.path
import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.drivers.hypervisor.libvirt.live_xml import FoundDisk
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.errors import GuestNotRunning, HypervisorError

# Quiescing waits for the guest, opening for the storage.
TIMEOUT = 120.0


class DiskOverlays(Calls):
    """The part of the Hypervisor contract that puts overlays on disks and merges them."""

    def overlay_disk(self, uuid: str, serial: str, overlay: str) -> None:
        def snapshot(domain: Any) -> None:
            disk = _file_disk(domain, serial)
            if os.path.basename(disk.source) == overlay:
                return
            path = os.path.join(os.path.dirname(disk.source), overlay)
            flags = (
                libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
                | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
                | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
            )
            domain.snapshotCreateXML(_snapshot_xml(domain, disk, path), flags)

        what = f"put an overlay on disk {serial} of guest {uuid}"
        self._with_domain(what, uuid, snapshot, TIMEOUT)

    def disk_chain(self, uuid: str, serial: str) -> list[str]:
        def chain(domain: Any) -> list[str]:
            disk = _file_disk(domain, serial)
            return [name for name, _ in _chain(disk)] if domain.isActive() else [disk.source]

        return self._with_domain(f"read the chain of disk {serial} of guest {uuid}", uuid, chain)

    def begin_merge(self, uuid: str, serial: str, top: str | None, base: str | None) -> None:
        def merge(domain: Any) -> None:
            if not domain.isActive():
                raise GuestNotRunning(f"Instance {uuid} is not running.")
            disk = _file_disk(domain, serial)
            if domain.blockJobInfo(disk.target):
                return
            if top is None:
                flags = libvirt.VIR_DOMAIN_BLOCK_REBASE_RELATIVE if base else 0
                domain.blockRebase(disk.target, _part(disk, base), 0, flags)
            else:
                domain.blockCommit(
                    disk.target,
                    _part(disk, base),
                    _part(disk, top),
                    0,
                    libvirt.VIR_DOMAIN_BLOCK_COMMIT_RELATIVE,
                )

        self._with_domain(f"merge files of disk {serial} of guest {uuid}", uuid, merge, TIMEOUT)

    def merging(self, uuid: str, serial: str) -> bool:
        def busy(domain: Any) -> bool:
            return domain.isActive() and bool(
                domain.blockJobInfo(_file_disk(domain, serial).target)
            )

        return self._with_domain(f"look at disk {serial} of guest {uuid}", uuid, busy)


def _file_disk(domain: Any, serial: str) -> FoundDisk:
    flags = 0 if domain.isActive() else libvirt.VIR_DOMAIN_XML_INACTIVE
    for disk in live_xml.disks(domain.XMLDesc(flags)):
        if disk.serial == serial and ET.fromstring(disk.xml).get("type") == "file":
            return disk
    raise HypervisorError(f"Found no disk to snapshot: {serial} of the guest is not a file")


def _snapshot_xml(domain: Any, disk: FoundDisk, path: str) -> str:
    """A snapshot of one disk and no other."""
    root = ET.Element("domainsnapshot")
    disks = add(root, "disks")
    for element in ET.fromstring(domain.XMLDesc(0)).findall("devices/disk"):
        target = element.find("target")
        name = target.get("dev", "") if target is not None else ""
        if name == disk.target:
            mine = add(disks, "disk", name=name, snapshot="external", type="file")
            add(mine, "source", file=path)
            add(mine, "driver", type="qcow2")
        else:
            add(disks, "disk", name=name, snapshot="no")
    return ET.tostring(root, encoding="unicode")


def _chain(disk: FoundDisk) -> list[tuple[str, str]]:
    """Paths and libvirt's numbers of the files of a disk, the one that is written to first."""
    found: list[tuple[str, str]] = []
    level = ET.fromstring(disk.xml)
    while level is not None and (source := level.find("source")) is not None:
        # The number of what is in use is on its source, that of what lies below on its level.
        number = source.get("index") or level.get("index") or "0"
        found.append((source.get("file", ""), number))
        level = level.find("backingStore")  # type: ignore[assignment]
    return found


def _part(disk: FoundDisk, name: str | None) -> str | None:
    """How libvirt names a file of the chain."""
    if name is None:
        return None
    for path, index in _chain(disk):
        if os.path.basename(path) == os.path.basename(name):
            return f"{disk.target}[{index}]"
    raise HypervisorError(f"disk {disk.serial} is not based on {name}")
