"""From Neutron's ports, networks and subnets to the model's interfaces."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite.clients.neutron import Api
from nova_lite.errors import PortBindingFailed
from nova_lite.model.network import NORMAL, FixedIp, Network, Subnet, Vif

NAME_LENGTH = 14  # of a host device, with room for the kernel's terminator
TUNNEL_TYPES = ("vxlan", "gre", "geneve")
OVS_TYPES = ("ovs", "agilio_ovs")

NETWORK_FIELDS = (
    "id",
    "name",
    "tenant_id",
    "mtu",
    "subnets",
    "shared",
    "router:external",
    "port_security_enabled",
    "dns_domain",
    "provider:physical_network",
    "provider:network_type",
    "segments",
)
SUBNET_FIELDS = (
    "id",
    "network_id",
    "cidr",
    "ip_version",
    "gateway_ip",
    "enable_dhcp",
    "ipv6_address_mode",
    "dns_nameservers",
    "host_routes",
)


@dataclass
class Surroundings:
    """What ports refer to: networks and subnets by id, DHCP servers by subnet id, floating
    addresses by (port id, fixed address)."""

    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    subnets: dict[str, dict[str, Any]] = field(default_factory=dict)
    dhcp: dict[str, str] = field(default_factory=dict)
    floating: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add_networks(self, api: Api, network_ids: Iterable[str]) -> None:
        """Read networks; ``api`` speaks as administrator: users do not see provider attributes."""
        wanted = sorted(set(network_ids) - self.networks.keys())
        if wanted:
            rows = api.networks(id=wanted, fields=NETWORK_FIELDS)
            self.networks.update({row["id"]: row for row in rows})

    def add_subnets(self, api: Api, network_ids: Iterable[str]) -> None:
        """Read all subnets of the networks, and who serves DHCP there."""
        ids = sorted(set(network_ids))
        if not ids:
            return
        rows = api.subnets(network_id=ids, fields=SUBNET_FIELDS)
        self.subnets.update({row["id"]: row for row in rows})
        serving = sorted({row["network_id"] for row in rows if row.get("enable_dhcp")})
        if not serving:
            return
        for port in api.ports(
            network_id=serving, device_owner="network:dhcp", fields=("fixed_ips",)
        ):
            for address in port["fixed_ips"]:
                self.dhcp.setdefault(address["subnet_id"], address["ip_address"])

    def add_floating_ips(self, api: Api, port_ids: Iterable[str]) -> None:
        """Read the floating addresses of ports."""
        ids = sorted(set(port_ids))
        if not ids:
            return
        fields = ("port_id", "fixed_ip_address", "floating_ip_address")
        for row in api.floating_ips(port_id=ids, fields=fields):
            key = (row["port_id"], row["fixed_ip_address"])
            self.floating.setdefault(key, []).append(row["floating_ip_address"])


def ensure_bound(port: Mapping[str, Any]) -> None:
    """Raise PortBindingFailed when Neutron found no way to serve the port on its host."""
    if port.get("binding:vif_type") == "binding_failed":
        raise PortBindingFailed(
            f"Binding failed for port {port['id']} on host {port.get('binding:host_id')}: is "
            "Neutron's agent there alive (openstack network agent list --host HOST)? The log of "
            "Neutron's server says what its mechanism drivers missed"
        )


def profile_of(port: Mapping[str, Any]) -> dict[str, Any]:
    """The port's binding profile; Neutron may send null."""
    return dict(port.get("binding:profile") or {})


def is_active(port: Mapping[str, Any]) -> bool:
    """Whether nothing is to be waited for: wired up, or administratively down for good."""
    return port.get("admin_state_up") is False or port.get("status") == "ACTIVE"


def age(port: Mapping[str, Any]) -> tuple[str, str]:
    """Sort key: ports in the order in which they were made."""
    return (port.get("created_at") or "", port["id"])


def vif_of(
    port: Mapping[str, Any],
    around: Surroundings,
    *,
    ovs_bridge: str,
    injected: bool = False,
    preserve: bool = False,
    tag: str | None = None,
) -> Vif:
    """The interface that a bound port, as an administrator sees it, is.

    :param ovs_bridge: integration bridge where the binding names none
    :param injected: nova.conf's flat_injected
    :param preserve: the port existed before the server
    :raises PortBindingFailed: Neutron could not bind it
    """
    ensure_bound(port)
    vif_type = port.get("binding:vif_type") or ""
    details = dict(port.get("binding:vif_details") or {})
    bridge, interface_id = _bridge(port, vif_type, details, ovs_bridge)
    network = around.networks.get(port["network_id"], {})
    physnet, tunneled = _physical(network)
    return Vif(
        id=port["id"],
        mac=port["mac_address"],
        network=Network(
            id=port["network_id"],
            label=network.get("name") or "",
            bridge=bridge,
            mtu=network.get("mtu"),
            project_id=network.get("tenant_id") or port.get("tenant_id"),
            physical_network=physnet,
            tunneled=tunneled,
            injected=injected,
            subnets=_subnets(port, around),
            meta={"should_create_bridge": True} if vif_type == "bridge" else {},
        ),
        vif_type=vif_type,
        details=details,
        vnic_type=port.get("binding:vnic_type") or NORMAL,
        profile=profile_of(port),
        devname=f"tap{port['id']}"[:NAME_LENGTH],
        ovs_interfaceid=interface_id,
        active=is_active(port),
        preserve=preserve,
        tag=tag,
    )


def _bridge(
    port: Mapping[str, Any], vif_type: str, details: Mapping[str, Any], ovs_bridge: str
) -> tuple[str | None, str | None]:
    """Host bridge and OVS interface id of a port."""
    on_ovs = vif_type in OVS_TYPES or (
        vif_type == "vhostuser" and details.get("vhostuser_ovs_plug", False)
    )
    if on_ovs:
        return details.get("bridge_name", ovs_bridge)[:NAME_LENGTH], port["id"]
    if vif_type == "bridge":
        return details.get("bridge_name", f"brq{port['network_id']}")[:NAME_LENGTH], None
    return None, None


def _physical(network: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Physical network, and whether traffic is tunneled; of several segments the first counts."""
    for segment in network.get("segments") or ():
        if segment.get("provider:physical_network"):
            return segment["provider:physical_network"], False
    return (
        network.get("provider:physical_network"),
        network.get("provider:network_type") in TUNNEL_TYPES,
    )


def _subnets(port: Mapping[str, Any], around: Surroundings) -> tuple[Subnet, ...]:
    ids = dict.fromkeys(address["subnet_id"] for address in port.get("fixed_ips") or ())
    return tuple(
        _subnet(around.subnets[subnet_id], port, around)
        for subnet_id in ids
        if subnet_id in around.subnets
    )


def _subnet(row: Mapping[str, Any], port: Mapping[str, Any], around: Surroundings) -> Subnet:
    addresses = [
        address["ip_address"] for address in port["fixed_ips"] if address["subnet_id"] == row["id"]
    ]
    return Subnet(
        cidr=row["cidr"],
        version=row.get("ip_version") or ipaddress.ip_network(row["cidr"]).version,
        gateway=row.get("gateway_ip"),
        dns=tuple(row.get("dns_nameservers") or ()),
        ips=tuple(
            FixedIp(
                address,
                ipaddress.ip_address(address).version,
                tuple(around.floating.get((port["id"], address), ())),
            )
            for address in addresses
        ),
        routes=tuple(
            {"cidr": route["destination"], "gateway": route["nexthop"]}
            for route in row.get("host_routes") or ()
        ),
        dhcp_server=around.dhcp.get(row["id"]),
        enable_dhcp=bool(row.get("enable_dhcp")),
        ipv6_address_mode=row.get("ipv6_address_mode"),
    )
