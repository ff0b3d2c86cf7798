"""``network_data.json``: the links, networks and services of a guest, in OpenStack's format.

The schema is published with nova's documentation (user/metadata, network_data.json); the choices
below are those of nova 34's virt/netutils.py, since guests have grown up with them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from nova_lite.model.network import Subnet, Vif

# vif types that guests were once shown; all others are 'phy', a plain network card.
_SHOWN_TYPES = frozenset({"bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif"})
_DEFAULT_ROUTES = {4: "0.0.0.0", 6: "::"}


def network_data(vifs: Sequence[Vif]) -> dict[str, Any]:
    """Describe the interfaces of a guest; without any, an empty object.

    Of each network the first IPv4 and the first IPv6 subnet count.
    """
    if not vifs:
        return {}
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    for index, vif in enumerate(with_subnets(vifs)):
        link = _link(vif, index)
        links.append(link)
        for version in (4, 6):
            subnet = first_subnet(vif, version)
            if subnet and subnet.ips:
                networks.append(_network(vif, subnet, f"network{len(networks)}", link["id"]))
                services += [entry for entry in _dns(subnet) if entry not in services]
    return {"links": links, "networks": networks, "services": services}


def with_subnets(vifs: Sequence[Vif]) -> list[Vif]:
    """The interfaces that have addresses to tell of, in order."""
    return [vif for vif in vifs if vif.network.subnets]


def first_subnet(vif: Vif, version: int) -> Subnet | None:
    """The first subnet of an IP version, if any."""
    return next((found for found in vif.network.subnets if found.version == version), None)


def _link(vif: Vif, index: int) -> dict[str, Any]:
    # A DHCP server tells the MTU itself.
    told_by_dhcp = any(subnet.dhcp_server for subnet in vif.network.subnets)
    return {
        "id": vif.devname or f"interface{index}",
        "vif_id": vif.id,
        "type": vif.vif_type if vif.vif_type in _SHOWN_TYPES else "phy",
        "mtu": None if told_by_dhcp else vif.network.mtu,
        "ethernet_mac_address": vif.mac,
    }


def _network(vif: Vif, subnet: Subnet, name: str, link: str) -> dict[str, Any]:
    kind = f"ipv{subnet.version}"
    common = {"id": name, "link": link, "network_id": vif.network.id}
    if subnet.ipv6_address_mode is None and (subnet.dhcp_server or subnet.enable_dhcp):
        return {**common, "type": f"{kind}_dhcp"}
    if subnet.ipv6_address_mode is not None:
        kind += f"_{subnet.ipv6_address_mode}"
    return {
        **common,
        "type": kind,
        "ip_address": subnet.ips[0].address,
        "netmask": str(ipaddress.ip_network(subnet.cidr, strict=False).netmask),
        "routes": _routes(subnet),
        "services": _dns(subnet),
    }


def _routes(subnet: Subnet) -> list[dict[str, str]]:
    routes = []
    if subnet.gateway:
        everywhere = _DEFAULT_ROUTES[subnet.version]
        routes.append({"network": everywhere, "netmask": everywhere, "gateway": subnet.gateway})
    for route in subnet.routes:
        target = ipaddress.ip_network(route["cidr"], strict=False)
        routes.append(
            {
                "network": str(target.network_address),
                "netmask": str(target.netmask),
                "gateway": str(route["gateway"]),
            }
        )
    return routes


def _dns(subnet: Subnet) -> list[dict[str, Any]]:
    return [{"type": "dns", "address": address} for address in subnet.dns]
