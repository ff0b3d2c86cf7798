"""Network interfaces of a domain."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.domain import NicSpec

# NicSpec.plug -> libvirt's type of interface.
_TYPES = {
    "tap": "ethernet",
    "ethernet": "ethernet",
    "ovs": "bridge",
    "bridge": "bridge",
    "vhostuser": "vhostuser",
    "hostdev": "hostdev",
    "direct": "direct",
    "vdpa": "vdpa",
}
_PCI = re.compile(r"([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)


def add_nic(devices: ET.Element, nic: NicSpec) -> ET.Element:
    """Add the ``<interface>`` of one NicSpec, or the ``<hostdev>`` of a whole card; return it.

    :raises VifTypeUnsupported: the way it is plugged is unknown, or its PCI address malformed
    """
    if nic.plug == "pci":
        return _add_card(devices, nic)
    kind = _TYPES.get(nic.plug)
    if kind is None:
        raise VifTypeUnsupported(f"network interface {nic.mac}: libvirt cannot plug {nic.plug!r}")
    managed = "yes" if kind == "hostdev" else None
    element = add(devices, "interface", type=kind, managed=managed)
    add(element, "mac", address=nic.mac)
    if nic.model and kind != "hostdev":
        add(element, "model", type=nic.model)
    _add_driver(element, nic)
    _add_source(element, nic)
    if nic.mtu and kind in ("ethernet", "bridge"):
        add(element, "mtu", size=nic.mtu)
    if nic.vlan is not None and kind in ("direct", "hostdev"):
        add(add(element, "vlan"), "tag", id=nic.vlan)
    if nic.target:
        # An existing tap stays what its maker made it; libvirt only opens it.
        add(element, "target", dev=nic.target, managed="no" if nic.plug == "tap" else None)
    if nic.plug == "ovs":
        port = add(element, "virtualport", type="openvswitch")
        if nic.interface_id:
            add(port, "parameters", interfaceid=nic.interface_id)
    _add_bandwidth(element, nic)
    if nic.boot_order:
        add(element, "boot", order=nic.boot_order)
    return element


def _add_driver(element: ET.Element, nic: NicSpec) -> None:
    attributes = {
        "name": nic.driver if nic.plug != "vhostuser" else None,
        "queues": nic.queues,
        "rx_queue_size": nic.rx_queue_size,
        "tx_queue_size": nic.tx_queue_size,
        "packed": "on" if nic.packed else None,
    }
    if any(value is not None for value in attributes.values()):
        add(element, "driver", None, **attributes)


def _add_source(element: ET.Element, nic: NicSpec) -> None:
    if nic.plug in ("ovs", "bridge"):
        add(element, "source", bridge=nic.bridge)
    elif nic.plug == "vhostuser":
        mode = nic.source_mode or "client"
        add(element, "source", type="unix", mode=mode, path=nic.source_path)
    elif nic.plug == "direct":
        add(element, "source", dev=nic.source_path, mode=nic.source_mode or "vepa")
    elif nic.plug == "vdpa":
        add(element, "source", dev=nic.source_path)
    elif nic.plug == "hostdev":
        add(add(element, "source"), "address", type="pci", **_pci_address(nic))


def _add_card(devices: ET.Element, nic: NicSpec) -> ET.Element:
    element = add(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
    add(add(element, "source"), "address", None, **_pci_address(nic))
    if nic.boot_order:
        add(element, "boot", order=nic.boot_order)
    return element


def _pci_address(nic: NicSpec) -> dict[str, str]:
    found = _PCI.fullmatch(nic.source_path or "")
    if found is None:
        raise VifTypeUnsupported(
            f"network interface {nic.mac}: {nic.source_path!r} is no PCI address like 0000:06:00.1"
        )
    names = ("domain", "bus", "slot", "function")
    return {name: f"0x{part}" for name, part in zip(names, found.groups(), strict=True)}


def _add_bandwidth(element: ET.Element, nic: NicSpec) -> None:
    # libvirt refuses inbound or outbound without an average.
    ways = {way: nic.bandwidth[way] for way in ("inbound", "outbound") if nic.bandwidth.get(way)}
    if any("average" in values for values in ways.values()):
        bandwidth = add(element, "bandwidth")
        for way, values in ways.items():
            if "average" in values:
                add(bandwidth, way, None, **dict(values))
