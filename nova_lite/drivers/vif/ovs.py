"""Ports of Open vSwitch and OVN (vif_type ovs): its port is made by os-vif, and so is the tap where
Neutron says so (ovs_create_tap); elsewhere libvirt makes it.
"""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import links
from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.os_vif import OsVifDriver
from nova_lite.drivers.vif.ovsdb import OvsPort
from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Network, Vif

# How the names of ports in Open vSwitch begin that are interfaces: of taps, veth pairs, vhost-user
# sockets, and bridges of their own ([os_vif_ovs]per_port_bridge).
PREFIXES = ("tap", "qvo", "vhu", "ibp")


class OvsVifs(OsVifDriver):
    """See the module; it answers for the host's switch, whatever else is plugged into that."""

    def check(self) -> None:
        self._check_switch()

    def needs_switch(self, vif: Vif) -> bool:
        return True

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.made_before:
            links.remove_unless_usable(vif.devname, queues=vif.queues)
        elif not vif.hybrid and self._has_lost_tap(vif):
            self.unplug(
                vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
            )
        elif vif.hybrid and links.exists(_veth(vif)) and not self._in_switch(vif, _veth(vif)):
            # Somebody was killed in between; os-vif would take the pair for a port that is there.
            links.remove(_veth(vif), port_id=vif.id)
        super().plug(vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id)

    def _has_lost_tap(self, vif: Vif) -> bool:
        """Whether the switch has the port, and the tap went with the guest: a switch in user space
        (datapath_type netdev) reads on from that one when there is a new one of its name."""
        return not links.exists(vif.devname) and self._in_switch(vif, vif.devname)

    def plugged(self, vif: Vif) -> bool:
        if vif.made_before and not links.exists(vif.devname):
            return False
        return self._in_switch(vif, _veth(vif) if vif.hybrid else vif.devname)

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        found: dict[str, list[Vif]] = {}
        if self._switch.askable:
            for port in self._switch.ports(server_uuid):
                if port.name.startswith(PREFIXES):  # anything else is a piece of hardware
                    found.setdefault(port.server_uuid, []).append(vif_of(port))
        if found:
            self.uses_switch = True
        return found

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="bridge" if vif.hybrid else "tap" if vif.made_before else "ethernet",
            bridge=bridge_of(vif) if vif.hybrid else None,
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
        )

    def to_os_vif(self, vif: Vif) -> Any:
        from os_vif.objects import vif as os_vif

        profile = objects.ovs_profile(vif)
        make = os_vif.VIFBridge
        if not vif.hybrid:
            make = os_vif.VIFOpenVSwitch
            # The port exists before the guest does: with [os_vif_ovs] isolate_vif it is cut off
            # until Neutron's agent has wired it up.
            profile.create_port = True
        if vif.made_before:
            if "create_tap" not in profile.fields:
                raise VifTypeUnsupported(
                    f"port {vif.id}: Neutron wants its tap made beforehand (ovs_create_tap), which "
                    "needs os-vif 5.0 or newer"
                )
            profile.create_tap = True
            profile.multiqueue = (vif.queues or 1) > 1
        return make(
            plugin="ovs",
            vif_name=vif.devname,
            bridge_name=bridge_of(vif),
            port_profile=profile,
            **objects.common(vif),
        )


def bridge_of(vif: Vif) -> str:
    """The host bridge that the guest's end hangs on."""
    return f"qbr{vif.id}"[: objects.NAME_LENGTH] if vif.hybrid else vif.network.bridge or ""


def _veth(vif: Vif) -> str:
    """The switch's end of the pair that leads to the port's own bridge."""
    return f"qvo{vif.id}"[: objects.NAME_LENGTH]


def vif_of(port: OvsPort) -> Vif:
    """What of an interface is needed to unplug a port that Open vSwitch has."""
    vhost_user = port.name.startswith("vhu")
    details: dict[str, Any] = {}
    if vhost_user:
        details = {"vhostuser_ovs_plug": True, "vhostuser_socket": "unknown"}
    elif port.name.startswith("qvo"):
        details = {"ovs_hybrid_plug": True}
    tap = f"tap{port.port_id}"[: objects.NAME_LENGTH]
    return Vif(
        id=port.port_id,
        mac=port.mac,
        # The switch does not know the network's id.
        network=Network(port.port_id, bridge=port.bridge),
        vif_type="vhostuser" if vhost_user else "ovs",
        details=details,
        devname=port.name if port.name.startswith("tap") else tap,
        ovs_interfaceid=port.port_id,
    )
