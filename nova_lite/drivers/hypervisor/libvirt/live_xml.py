"""What a domain's XML says about the devices it has now."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from nova_lite.drivers.hypervisor.libvirt.xml_disks import ALIAS_PREFIX, SOURCES
from nova_lite.model.host import GuestDevice

# Interfaces that are a piece of the host's hardware.
HARDWARE_NICS = ("hostdev", "vdpa")
PERSISTENT_MEMORY = ("nvdimm", "virtio-pmem")


@dataclass(frozen=True)
class FoundDisk:
    """A disk with something in it; ``alias`` is libvirt's name for it, ``xml`` the element."""

    target: str
    serial: str | None
    source: str
    alias: str
    xml: str = field(repr=False)


@dataclass(frozen=True)
class FoundNic:
    """A network card; ``device`` is on the host, ``alias`` libvirt's name, ``xml`` the element."""

    mac: str
    device: str
    alias: str
    xml: str = field(repr=False)


def nics(xml: str) -> list[FoundNic]:
    """The domain's network cards."""
    found = []
    for element in ET.fromstring(xml).findall("devices/interface"):
        mac, alias, target = (element.find(name) for name in ("mac", "alias", "target"))
        if mac is not None:
            found.append(
                FoundNic(
                    mac.get("address", "").lower(),
                    "" if target is None else target.get("dev", ""),
                    "" if alias is None else alias.get("name", ""),
                    ET.tostring(element, encoding="unicode"),
                )
            )
    return found


def taps(xml: str) -> list[tuple[str, str]]:
    """MAC address and host device of the interfaces that have one."""
    found = []
    for interface in ET.fromstring(xml).findall("devices/interface"):
        mac, target = interface.find("mac"), interface.find("target")
        if mac is not None and target is not None and target.get("dev"):
            found.append((mac.get("address", ""), target.get("dev", "")))
    return found


def devices(xml: str) -> list[GuestDevice]:
    """Disks and network cards with the addresses that libvirt gave them."""
    found = []
    for element in ET.fromstring(xml).findall("devices/*"):
        target = element.find("target")
        if element.tag == "disk" and target is not None:
            found.append(_placed(element, "disk", target.get("dev", ""), target.get("bus", "")))
        elif element.tag == "interface" and (mac := element.find("mac")) is not None:
            found.append(_placed(element, "nic", mac.get("address", ""), ""))
    return found


def disks(xml: str) -> list[FoundDisk]:
    """The domain's disks; a LUN that is passed through shows its volume's id in its alias only."""
    found = []
    for element in ET.fromstring(xml).findall("devices/disk"):
        source, target = element.find("source"), element.find("target")
        if source is None or target is None:
            continue
        named = element.find("alias")
        alias = "" if named is None else named.get("name", "")
        own = alias.removeprefix(ALIAS_PREFIX) if alias.startswith(ALIAS_PREFIX) else None
        found.append(
            FoundDisk(
                target.get("dev", ""),
                element.findtext("serial") or own,
                source.get(SOURCES.get(element.get("type", ""), "name"), ""),
                alias,
                ET.tostring(element, encoding="unicode"),
            )
        )
    return found


def has_pcie(xml: str) -> bool:
    """Whether the domain's board has PCIe ports."""
    return ET.fromstring(xml).find("devices/controller[@model='pcie-root']") is not None


def has_virtio_scsi(xml: str) -> bool:
    """Whether the domain's first SCSI controller is a virtio one."""
    path = "devices/controller[@type='scsi'][@index='0'][@model='virtio-scsi']"
    return ET.fromstring(xml).find(path) is not None


def scsi_units(xml: str) -> set[int]:
    """The places on the first SCSI controller that disks have."""
    path = "devices/disk/target[@bus='scsi']/../address[@controller='0']"
    return {int(address.get("unit", 0)) for address in ET.fromstring(xml).findall(path)}


def foreign_devices(xml: str, *, tpm: bool = False) -> list[str]:
    """Devices that domain_xml does not write: pieces of the host's hardware, TPMs and so on.

    https://libvirt.org/formatdomain.html#devices

    :param tpm: whether emulated TPMs are written ([libvirt] swtpm_enabled)
    """
    root, found = ET.fromstring(xml), []
    for element in root.findall("devices/hostdev"):
        if element.get("type") == "pci":
            found.append(f"PCI device {_pci_address(element.find('source/address'))}")
        elif element.get("type") == "mdev":
            address = element.find("source/address")
            found.append(f"mediated device {'' if address is None else address.get('uuid')}")
    for element in root.findall("devices/interface"):
        if element.get("type") in HARDWARE_NICS or _has_function(element):
            mac = element.find("mac")
            found.append(f"hardware NIC {'' if mac is None else mac.get('address')}")
    own = "emulator" if tpm else None
    found += ["TPM" for back in root.findall("devices/tpm/backend") if back.get("type") != own]
    found += [
        f"{element.get('model')} memory"
        for element in root.findall("devices/memory")
        if element.get("model") in PERSISTENT_MEMORY
    ]
    found += ["memory encryption" for _ in root.findall("launchSecurity")]
    return found


def _has_function(interface: ET.Element) -> bool:
    """Whether the macvtap device of an interface has a virtual function for itself alone."""
    source = interface.find("source")
    mode = None if source is None else source.get("mode")
    return interface.get("type") == "direct" and mode == "passthrough"


def _pci_address(address: ET.Element | None) -> str:
    where = {} if address is None else dict(address.attrib)
    parts = (int(where.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function"))
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _placed(element: ET.Element, kind: str, name: str, disk_bus: str) -> GuestDevice:
    address = element.find("address")
    where = {} if address is None else dict(address.attrib)
    if where.get("type") == "pci":
        return GuestDevice(kind, name, "pci", _pci_address(element.find("address")))
    if disk_bus in ("scsi", "ide", "usb"):
        drive = [where.get(part) for part in ("controller", "bus", "target", "unit")]
        return GuestDevice(kind, name, disk_bus, ":".join(filter(None, drive)) or None)
    return GuestDevice(kind, name)
