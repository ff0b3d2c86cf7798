"""What os-vif's objects of all kinds of ports have in common: server, network, place in the switch.

os_vif is imported inside the functions: it costs memory that a host without ports never spends.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from nova_lite.model.network import Network, Subnet, Vif

NAME_LENGTH = 14  # of a host device, with room for the kernel's terminator


def instance_info(server_uuid: str, server_name: str, project_id: str) -> Any:
    """os-vif's description of the server that a port is plugged for."""
    from os_vif.objects import instance_info as objects

    return objects.InstanceInfo(uuid=server_uuid, name=server_name, project_id=project_id)


def ovs_profile(vif: Vif) -> Any:
    """How Neutron's agents find the port in Open vSwitch."""
    from os_vif.objects import vif as objects

    return objects.VIFPortProfileOpenVSwitch(
        interface_id=vif.ovs_interfaceid or vif.id,
        datapath_type=vif.details.get("datapath_type"),
    )


def offloaded(vif: Vif) -> Any:
    """A virtual function whose traffic an Open vSwitch in hardware switches, by its representor."""
    from os_vif.objects import fields
    from os_vif.objects import vif as objects

    address = vif.profile["pci_slot"]
    profile = objects.VIFPortProfileOVSRepresentor(
        interface_id=vif.ovs_interfaceid or vif.id,
        representor_name=vif.devname,
        representor_address=address,
        datapath_offload=objects.DatapathOffloadRepresentor(
            representor_name=vif.devname, representor_address=address
        ),
    )
    return objects.VIFHostDevice(
        plugin="ovs",
        dev_type=fields.VIFHostDeviceDevType.ETHERNET,
        dev_address=address,
        port_profile=profile,
        **common(vif),
    )


def common(vif: Vif) -> dict[str, Any]:
    """The fields that objects of every kind have."""
    return {
        "id": vif.id,
        "address": vif.mac,
        "network": _network(vif.network),
        "has_traffic_filtering": bool(vif.details.get("port_filter")),
        "preserve_on_delete": vif.preserve,
        "active": vif.active,
    }


def _network(network: Network) -> Any:
    from os_vif.objects import network as objects
    from os_vif.objects import subnet

    found = objects.Network(
        id=network.id,
        label=network.label,
        bridge_interface=network.meta.get("bridge_interface"),
        subnets=subnet.SubnetList(objects=[_subnet(item) for item in network.subnets]),
    )
    if network.bridge:
        found.bridge = network.bridge
    if network.mtu:
        found.mtu = network.mtu
    if network.meta.get("should_create_bridge") is not None:
        found.should_provide_bridge = network.meta["should_create_bridge"]
    return found


def _subnet(subnet: Subnet) -> Any:
    from os_vif.objects import fixed_ip, route
    from os_vif.objects import subnet as objects

    found = objects.Subnet(
        cidr=str(ipaddress.ip_network(subnet.cidr, strict=False)),
        dns=list(subnet.dns),
        ips=fixed_ip.FixedIPList(
            objects=[
                fixed_ip.FixedIP(address=ip.address, floating_ips=list(ip.floating_ips))
                for ip in subnet.ips
            ]
        ),
        routes=route.RouteList(
            objects=[
                route.Route(cidr=item["cidr"], gateway=item["gateway"]) for item in subnet.routes
            ]
        ),
    )
    if subnet.gateway:
        found.gateway = subnet.gateway
    return found
