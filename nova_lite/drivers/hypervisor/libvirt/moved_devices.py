"""A disk or network card of a running guest as another host has it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_disks import ALIAS_PREFIX, add_disk
from nova_lite.drivers.hypervisor.libvirt.xml_nics import add_nic
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.errors import HypervisorError
from nova_lite.model.domain import DiskSpec, NicSpec

# Parts of <disk> that say where it is and how it is opened; all others are the guest's.
_DISK_PLACES = ("source", "auth", "encryption", "backingStore", "mirror")
_LIMITS = "iotune"
_DISK_DRIVER = ("type", "cache", "io", "discard")
# The same of <interface>. Libvirt runs a script for some types only.
_NIC_PLACES = ("source", "target", "virtualport", "vlan", "backend", "script")
# Types whose traffic libvirt cannot shape.
_UNSHAPED = ("vhostuser", "hostdev", "vdpa")


def volume_of(disk: ET.Element) -> str | None:
    """The id of the volume that a disk is; None for one that is none.

    A LUN that is passed through has it in its alias only.
    """
    alias = disk.find("alias")
    name = alias.get("name", "") if alias is not None else ""
    own = name.removeprefix(ALIAS_PREFIX) if name.startswith(ALIAS_PREFIX) else None
    return disk.findtext("serial") or own


def move_disk(disk: ET.Element, spec: DiskSpec) -> None:
    """Make a disk the one of ``spec``; the guest sees the same device.

    :raises HypervisorError: it is of another kind, or block sizes differ
    """
    new = add_disk(ET.Element("devices"), spec)
    if (disk.get("device") or "disk") != spec.kind:
        raise HypervisorError(
            f"disk {spec.serial} is a {disk.get('device')} here and a {spec.kind} on the other host"
        )
    disk.set("type", spec.source_type)
    _replace(disk, new, _DISK_PLACES)
    if new.find(_LIMITS) is not None:  # Cinder may have changed them since the volume was attached
        _replace(disk, new, (_LIMITS,))
    driver, new_driver = disk.find("driver"), new.find("driver")
    if driver is None or new_driver is None:
        return
    for name in _DISK_DRIVER:
        value = new_driver.get(name)
        if value is not None:
            driver.set(name, value)
        else:
            driver.attrib.pop(name, None)


def move_rbd_disk(disk: ET.Element, monitors: tuple[tuple[str, str | None], ...]) -> None:
    """Give a disk in RBD the monitors that the other host knows; does nothing with another disk."""
    source = disk.find("source")
    if source is None or source.get("protocol") != "rbd":
        return
    for host in source.findall("host"):
        source.remove(host)
    for number, (address, port) in enumerate(monitors):
        host = ET.Element("host", {"name": address, **({"port": port} if port else {})})
        source.insert(number, host)


def move_nic(interface: ET.Element, spec: NicSpec) -> None:
    """Make a network card the one of ``spec``; the guest sees the same device.

    :raises HypervisorError: one of the two is a piece of hardware
    :raises VifTypeUnsupported: as add_nic
    """
    new = add_nic(ET.Element("devices"), spec)
    kind = new.get("type", "")
    if new.tag != "interface" or (interface.get("type") == "hostdev") != (kind == "hostdev"):
        raise HypervisorError(
            f"network card {spec.mac} is hardware on one of the hosts; the guest cannot take it "
            "along while it runs"
        )
    interface.set("type", kind)
    interface.attrib.pop("managed", None)
    if new.get("managed") is not None:
        interface.set("managed", new.get("managed", ""))
    _replace(interface, new, _NIC_PLACES)
    _move_driver(interface, new)
    bandwidth = interface.find("bandwidth")
    if bandwidth is not None and kind in _UNSHAPED:
        interface.remove(bandwidth)


def _move_driver(interface: ET.Element, new: ET.Element) -> None:
    """Who carries the packets is the host's business, the queues are the guest's."""
    driver, new_driver = interface.find("driver"), new.find("driver")
    name = new_driver.get("name") if new_driver is not None else None
    if driver is None:
        if name is None:
            return
        driver = add(interface, "driver")
    driver.attrib.pop("name", None)
    if name is not None:
        driver.set("name", name)
    if not driver.attrib and not len(driver):
        interface.remove(driver)


def _replace(element: ET.Element, new: ET.Element, names: tuple[str, ...]) -> None:
    for name in names:
        for old in element.findall(name):
            element.remove(old)
        element.extend(new.findall(name))
