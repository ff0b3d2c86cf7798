"""Ports on an interface of the host itself (vif_type macvtap): libvirt makes the macvtap device."""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import links
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import VifPlugError, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif

NEEDED = ("macvtap_source", "macvtap_mode", "physical_interface")


class MacvtapVifs(VifDriver):
    """See the module. For a VLAN the interface is one that is made here, and stays: all ports of
    the network share it."""

    def __init__(self, conf: Any) -> None:
        """:param conf: not needed"""

    def require(self, vif: Vif) -> None:
        if missing := [name for name in NEEDED if not vif.details.get(name)]:
            raise VifTypeUnsupported(
                f"port {vif.id}: binding:vif_details has no {', '.join(missing)}; check the "
                "macvtap mechanism driver in Neutron"
            )

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        source = str(vif.details["macvtap_source"])
        if vlan := int(vif.details.get("vlan") or 0):
            parent = str(vif.details["physical_interface"])
            links.make_vlan(source, parent, vlan, port_id=vif.id)
        elif not links.exists(source):
            raise VifPlugError(
                f"cannot plug port {vif.id}: this host has no interface {source}; check "
                "physical_interface_mappings of Neutron's macvtap agent"
            )

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """The macvtap device goes with the guest."""

    def plugged(self, vif: Vif) -> bool:
        return links.exists(str(vif.details["macvtap_source"]))

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="direct",
            source_path=vif.details["macvtap_source"],
            source_mode=vif.details["macvtap_mode"],
            model="virtio",  # whatever the image says: the other end is a tap in any case
            queues=queues,
        )
