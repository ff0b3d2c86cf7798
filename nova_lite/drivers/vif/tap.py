"""Ports that are a tap which Neutron's agent routes (vif_type tap), as Calico has them."""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import links
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class TapVifs(VifDriver):
    """See the module. The tap is made before the guest starts, with the host's own MAC address of
    it where the binding names one."""

    def __init__(self, conf: Any) -> None:
        """:param conf: not needed"""

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        links.make_tap(
            vif.devname,
            port_id=vif.id,
            mac=vif.details.get("mac_address"),
            mtu=vif.network.mtu,
            queues=vif.queues,
        )

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        links.remove(vif.devname, port_id=vif.id)

    def plugged(self, vif: Vif) -> bool:
        return links.exists(vif.devname)

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="tap",
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
            shaped=False,  # its agent sees to that
        )
