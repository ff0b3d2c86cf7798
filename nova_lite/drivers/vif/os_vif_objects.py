"""Our interfaces as os-vif's objects: which plugin makes the host side, and what it is told.

os_vif is imported inside the functions: it costs memory that a host without ports never spends.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from nova_lite.drivers.vif.ovsdb import OvsPort
from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.network import Network, Subnet, Vif

NAME_LENGTH = 14  # of a host device, with room for the kernel's terminator
# How the names of ports in Open vSwitch begin that are interfaces: of taps, veth pairs, vhost-user
# sockets, and bridges of their own ([os_vif_ovs]per_port_bridge).
PREFIXES = ("tap", "qvo", "vhu", "ibp")
NORMAL = "normal"  # the vnic_type of an interface that is not a piece of hardware


def hybrid(vif: Vif) -> bool:
    """Whether the port goes through a Linux bridge of its own, where iptables filters it."""
    return bool(vif.details.get("ovs_hybrid_plug"))


def makes_tap(vif: Vif) -> bool:
    """Whether the tap is made before the guest starts, by os-vif."""
    return vif.vif_type == "ovs" and not hybrid(vif) and bool(vif.details.get("ovs_create_tap"))


def bridge_of(vif: Vif) -> str:
    """The host bridge that the guest's end hangs on."""
    if vif.vif_type == "ovs" and hybrid(vif):
        return f"qbr{vif.id}"[:NAME_LENGTH]
    return vif.network.bridge or ""


def ovs_port_of(vif: Vif) -> str | None:
    """Name of the port in Open vSwitch, None when the port has none there."""
    if vif.vif_type == "ovs":
        return f"qvo{vif.id}"[:NAME_LENGTH] if hybrid(vif) else vif.devname
    if vif.vif_type == "vhostuser" and vif.details.get("vhostuser_ovs_plug"):
        return f"vhu{vif.id}"[:NAME_LENGTH]
    return None


def vif_of(port: OvsPort) -> Vif:
    """What of an interface is needed to unplug a port that Open vSwitch has."""
    vhost_user = port.name.startswith("vhu")
    details: dict[str, Any] = {}
    if vhost_user:
        details = {"vhostuser_ovs_plug": True, "vhostuser_socket": "unknown"}
    elif port.name.startswith("qvo"):
        details = {"ovs_hybrid_plug": True}
    return Vif(
        id=port.port_id,
        mac=port.mac,
        # The switch does not know the network's id.
        network=Network(port.port_id, bridge=port.bridge),
        vif_type="vhostuser" if vhost_user else "ovs",
        details=details,
        devname=port.name if port.name.startswith("tap") else f"tap{port.port_id}"[:NAME_LENGTH],
        ovs_interfaceid=port.port_id,
    )


def socket_of(vif: Vif) -> tuple[str, str]:
    """Path and mode (server or client, as QEMU sees it) of a vhost-user socket.

    :raises VifTypeUnsupported: Neutron gave no path
    """
    path = vif.details.get("vhostuser_socket")
    if not path:
        raise VifTypeUnsupported(
            f"port {vif.id}: binding:vif_details has no vhostuser_socket; check the mechanism "
            "driver in Neutron"
        )
    return path, vif.details.get("vhostuser_mode", "server")


def to_os_vif(vif: Vif) -> Any:
    """The os-vif object of a port.

    :raises VifTypeUnsupported: none fits
    """
    if vif.vnic_type == NORMAL:
        if vif.vif_type == "ovs":
            return _open_vswitch(vif)
        if vif.vif_type == "bridge":
            return _linux_bridge(vif)
        if vif.vif_type == "vhostuser":
            return _vhost_user(vif)
    raise VifTypeUnsupported(
        f"port {vif.id}: vif_type {vif.vif_type!r} with vnic_type {vif.vnic_type!r} cannot be "
        "plugged by os-vif here"
    )


def instance_info(server_uuid: str, server_name: str, project_id: str) -> Any:
    """os-vif's description of the server that a port is plugged for."""
    from os_vif.objects import instance_info as objects

    return objects.InstanceInfo(uuid=server_uuid, name=server_name, project_id=project_id)


def _open_vswitch(vif: Vif) -> Any:
    from os_vif.objects import vif as objects

    profile = _ovs_profile(vif)
    if hybrid(vif):
        return objects.VIFBridge(
            plugin="ovs",
            vif_name=vif.devname,
            bridge_name=bridge_of(vif),
            port_profile=profile,
            **_common(vif),
        )
    # The port exists before the guest does: with [os_vif_ovs] isolate_vif it is cut off until
    # Neutron's agent has wired it up.
    profile.create_port = True
    if makes_tap(vif):
        if "create_tap" not in profile.fields:
            raise VifTypeUnsupported(
                f"port {vif.id}: Neutron wants its tap made beforehand (ovs_create_tap), which "
                "needs os-vif 5.0 or newer"
            )
        profile.create_tap = True
        profile.multiqueue = (vif.queues or 1) > 1
    return objects.VIFOpenVSwitch(
        plugin="ovs",
        vif_name=vif.devname,
        bridge_name=bridge_of(vif),
        port_profile=profile,
        **_common(vif),
    )


def _linux_bridge(vif: Vif) -> Any:
    from os_vif.objects import vif as objects

    return objects.VIFBridge(
        plugin="linux_bridge",
        vif_name=vif.devname,
        bridge_name=bridge_of(vif),
        **_common(vif),
    )


def _vhost_user(vif: Vif) -> Any:
    from os_vif.objects import vif as objects

    path, mode = socket_of(vif)
    on_ovs = bool(vif.details.get("vhostuser_ovs_plug"))
    return objects.VIFVHostUser(
        plugin="ovs" if on_ovs else "noop",
        vif_name=vif.devname,
        path=path,
        mode=mode,
        **({"port_profile": _ovs_profile(vif)} if on_ovs else {}),
        **_common(vif),
    )


def _ovs_profile(vif: Vif) -> Any:
    from os_vif.objects import vif as objects

    return objects.VIFPortProfileOpenVSwitch(
        interface_id=vif.ovs_interfaceid or vif.id,
        datapath_type=vif.details.get("datapath_type"),
    )


def _common(vif: Vif) -> dict[str, Any]:
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
