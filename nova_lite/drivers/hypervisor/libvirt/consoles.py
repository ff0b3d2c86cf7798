"""Where the consoles of guests listen."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.model.host import ConsoleAddress


class Consoles(Calls):
    """The part of the Hypervisor contract about consoles."""

    def graphics(self, uuid: str, kind: str) -> ConsoleAddress | None:
        return self._with_domain(
            f"read the consoles of guest {uuid}",
            uuid,
            lambda domain: graphics(domain.XMLDesc(0), kind) if domain.isActive() else None,
        )

    def serial_ports(self, uuid: str) -> list[ConsoleAddress]:
        return self._with_domain(
            f"read the serial ports of guest {uuid}",
            uuid,
            lambda domain: serial_ports(domain.XMLDesc(0)) if domain.isActive() else [],
        )

    def all_serial_ports(self) -> dict[str, list[ConsoleAddress]]:
        def read(connection: Any) -> dict[str, list[ConsoleAddress]]:
            found = {}
            for domain in connection.listAllDomains():
                try:
                    kinds = {0, libvirt.VIR_DOMAIN_XML_INACTIVE}
                    ports = {port for flag in kinds for port in serial_ports(domain.XMLDesc(flag))}
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                        continue  # removed since it was listed
                    raise
                found[domain.UUIDString()] = sorted(ports, key=lambda port: port.port)
            return found

        return self._call("read the serial ports of all guests", read)


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


def serial_ports(xml: str) -> list[ConsoleAddress]:
    """Where the serial ports of a domain listen, the first one first; those on TCP only."""
    sources = ET.fromstring(xml).findall("devices/serial[@type='tcp']/source[@mode='bind']")
    return [
        ConsoleAddress(source.get("host", ""), int(source.get("service", 0))) for source in sources
    ]


def _port(element: ET.Element, name: str) -> int | None:
    value = int(element.get(name, -1))
    return value if value > 0 else None
