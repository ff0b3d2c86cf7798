"""What a domain's XML says about the devices it has now."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.model.host import ConsoleAddress


def graphics(xml: str, kind: str) -> ConsoleAddress | None:
    """Where the ``vnc`` or ``spice`` console of a running domain listens; None without one."""
    for element in ET.fromstring(xml).findall("devices/graphics"):
        port, tls_port = _port(element, "port"), _port(element, "tlsPort")
        if element.get("type") != kind or (port is None and tls_port is None):
            continue
        listen = element.find("listen[@type='address']")
        address = element.get("listen") or (listen.get("address") if listen is not None else None)
        return ConsoleAddress(address or "127.0.0.1", port or 0, tls_port)
    return None


def _port(element: ET.Element, name: str) -> int | None:
    value = int(element.get(name, -1))
    return value if value > 0 else None


def taps(xml: str) -> list[tuple[str, str]]:
    """MAC address and host device of the interfaces that have one."""
    found = []
    for interface in ET.fromstring(xml).findall("devices/interface"):
        mac, target = interface.find("mac"), interface.find("target")
        if mac is not None and target is not None and target.get("dev"):
            found.append((mac.get("address", ""), target.get("dev", "")))
    return found


def attached_devices(xml: str) -> dict[str, list[str]]:
    """Targets of disks and MAC addresses of interfaces."""
    root = ET.fromstring(xml)
    disks = (target.get("dev", "") for target in root.findall("devices/disk/target"))
    nics = (mac.get("address", "") for mac in root.findall("devices/interface/mac"))
    return {"disks": list(disks), "nics": list(nics)}
