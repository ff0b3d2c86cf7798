"""The injected network configuration: Debian's interfaces(5) for networks without DHCP."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from nova_lite.configdrive.network_data import first_subnet, with_subnets
from nova_lite.model.network import Subnet, Vif

_HEADER = """\
# Written when the server was created; see interfaces(5).

auto lo
iface lo inet loopback
"""


def interfaces(vifs: Sequence[Vif]) -> str | None:
    """The file, or None when no network is marked as injected ([DEFAULT]flat_injected).

    Interfaces are named eth0, eth1 ... in the order of the ports. One with DHCP on its first IPv4
    or IPv6 subnet is left out.
    """
    stanzas = []
    for index, vif in enumerate(with_subnets(vifs)):
        subnets = [found for version in (4, 6) if (found := first_subnet(vif, version))]
        if not vif.network.injected or any(subnet.dhcp_server for subnet in subnets):
            continue
        lines = [f"\nauto eth{index}"]
        for subnet in subnets:
            lines += _stanza(f"eth{index}", vif.mac, subnet)
        stanzas.append("\n".join(lines) + "\n")
    return _HEADER + "".join(stanzas) if stanzas else None


def _stanza(name: str, mac: str, subnet: Subnet) -> list[str]:
    if not subnet.ips:
        return []
    net = ipaddress.ip_network(subnet.cidr, strict=False)
    if subnet.version == 4:
        family = "inet"
        mask = [f"    netmask {net.netmask}", f"    broadcast {net.broadcast_address}"]
    else:
        family = "inet6"
        mask = [f"    netmask {net.prefixlen}"]
    lines = [
        f"iface {name} {family} static",
        f"    hwaddress ether {mac}",
        f"    address {subnet.ips[0].address}",
        *mask,
    ]
    if subnet.gateway:
        lines.append(f"    gateway {subnet.gateway}")
    if subnet.dns:
        lines.append(f"    dns-nameservers {' '.join(subnet.dns)}")
    return lines
