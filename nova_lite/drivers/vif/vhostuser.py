"""Ports that are a vhost-user socket (vif_type vhostuser): of Open vSwitch with DPDK
(vhostuser_ovs_plug), where os-vif makes the port, or of another switch, which makes it itself.
"""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.os_vif import OsVifDriver
from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif

# binding:vif_details that ask for a plugin of somebody else's switch.
OTHERS = ("vhostuser_fp_plug", "vhostuser_vrouter_plug")


class VhostUserVifs(OsVifDriver):
    """See the module."""

    def needs_switch(self, vif: Vif) -> bool:
        return on_ovs(vif)

    def require(self, vif: Vif) -> None:
        if not vif.details.get("vhostuser_socket"):
            raise VifTypeUnsupported(
                f"port {vif.id}: binding:vif_details has no vhostuser_socket; check the mechanism "
                "driver in Neutron"
            )
        if named := [name for name in OTHERS if vif.details.get(name)]:
            raise VifTypeUnsupported(
                f"port {vif.id}: vhost-user ports with {named[0]} are not supported; Open vSwitch "
                "(vhostuser_ovs_plug) and switches that make their sockets themselves are"
            )

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if on_ovs(vif):
            super().plug(
                vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
            )

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if on_ovs(vif):
            super().unplug(
                vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
            )

    def plugged(self, vif: Vif) -> bool:
        return not on_ovs(vif) or self._in_switch(vif, device_of(vif))

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="vhostuser",
            source_path=vif.details["vhostuser_socket"],
            source_mode=mode_of(vif),
            target=device_of(vif),
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
            shaped=False,
        )

    def to_os_vif(self, vif: Vif) -> Any:
        from os_vif.objects import vif as os_vif

        return os_vif.VIFVHostUser(
            plugin="ovs",
            vif_name=device_of(vif),
            path=vif.details.get("vhostuser_socket") or "unknown",
            mode=mode_of(vif),
            port_profile=objects.ovs_profile(vif),
            **objects.common(vif),
        )


def on_ovs(vif: Vif) -> bool:
    """Whether the socket is a port of Open vSwitch."""
    return bool(vif.details.get("vhostuser_ovs_plug"))


def device_of(vif: Vif) -> str:
    """The name of the port in Open vSwitch; of another switch it means nothing."""
    return f"vhu{vif.id}"[: objects.NAME_LENGTH] if on_ovs(vif) else vif.devname


def mode_of(vif: Vif) -> str:
    """Whether QEMU is the server or the client of the socket."""
    return str(vif.details.get("vhostuser_mode") or "server")
