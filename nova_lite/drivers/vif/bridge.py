"""Ports on a Linux bridge (vif_type bridge): libvirt makes the tap and puts it into the bridge."""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import links
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import VifPlugError, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class BridgeVifs(VifDriver):
    """See the module. The bridge is made where the network says so, and stays: others share it."""

    def __init__(self, conf: Any) -> None:
        """:param conf: not needed"""

    def require(self, vif: Vif) -> None:
        if not vif.network.bridge:
            raise VifTypeUnsupported(
                f"port {vif.id}: neither its binding nor its network names the Linux bridge that "
                "it is on; check the mechanism driver in Neutron"
            )

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.network.meta.get("should_create_bridge"):
            links.make_bridge(_bridge(vif), port_id=vif.id)
        elif not self.plugged(vif):
            raise VifPlugError(
                f"cannot plug port {vif.id}: this host has no bridge {_bridge(vif)}; is Neutron's "
                "agent here alive?"
            )

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """The tap goes with the guest."""

    def plugged(self, vif: Vif) -> bool:
        return links.exists(_bridge(vif))

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="bridge",
            bridge=_bridge(vif),
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
        )


def _bridge(vif: Vif) -> str:
    return str(vif.network.bridge)
