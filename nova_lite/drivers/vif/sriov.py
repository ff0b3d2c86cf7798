"""Ports that are a virtual or physical function of a network card (SR-IOV).

Whether a server with such a port is accepted is not for the drivers to say: see
``services.hardware_ports``.
"""

from __future__ import annotations

from typing import Any

from nova_lite.drivers.vif import links, pci
from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.os_vif import OsVifDriver
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif

NO_MAC = "00:00:00:00:00:00"


class PhysicalVifs(VifDriver):
    """A whole network card (hostdev_physical.direct-physical): the guest sets it up itself."""

    def __init__(self, conf: Any) -> None:
        """:param conf: not needed"""

    def require(self, vif: Vif) -> None:
        pci.require_slot(vif)

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """libvirt takes the card from the host when the guest starts."""

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """libvirt gives it back."""

    def plugged(self, vif: Vif) -> bool:
        return pci.present(pci.slot_of(vif))

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac, plug="pci", source_path=pci.slot_of(vif), model=None, shaped=False
        )


class DirectVifs(PhysicalVifs):
    """A virtual function that the guest drives (hw_veb.direct); the card switches its VLAN."""

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.trusted:
            _trust(vif, "on")

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if "trusted" in vif.profile and self.plugged(vif):
            _trust(vif, "off")

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="hostdev",
            source_path=pci.slot_of(vif),
            vlan=_vlan(vif),
            model=None,
        )


class MacvtapFunctionVifs(PhysicalVifs):
    """A virtual function whose interface the guest reaches through a macvtap device that libvirt
    makes (hw_veb.macvtap); Neutron's SR-IOV agent finds it by the MAC address in the card."""

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        _set_function(vif, vif.mac, _vlan(vif) or 0)

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        # With the MAC left in it, the card would keep packets from a port that is elsewhere by now.
        if self.plugged(vif):
            _set_function(vif, NO_MAC, 0)

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="direct",
            source_path=pci.interface(pci.slot_of(vif)),
            source_mode="passthrough",
            vlan=_vlan(vif),
            model=model,
            driver="vhost",
            queues=queues,
        )


class OffloadedVifs(OsVifDriver):
    """A virtual function that Open vSwitch in the card switches (ovs.direct): os-vif puts its
    representor into the switch."""

    def needs_switch(self, vif: Vif) -> bool:
        return True

    def require(self, vif: Vif) -> None:
        pci.require_slot(vif)

    def plugged(self, vif: Vif) -> bool:
        self._await_switch(vif)
        return any(port.port_id == vif.id for port in self._switch.ports())

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac, plug="hostdev", source_path=pci.slot_of(vif), model=None, shaped=False
        )

    def to_os_vif(self, vif: Vif) -> Any:
        return objects.offloaded(vif)


def _vlan(vif: Vif) -> int | None:
    found = vif.details.get("vlan")
    return None if found in (None, "") else int(found)


def _trust(vif: Vif, value: str) -> None:
    slot = pci.slot_of(vif)
    parent, number = pci.interface(slot, physical=True), pci.vf_number(slot)
    links.set_vf(parent, number, "trust", value, port_id=vif.id)


def _set_function(vif: Vif, mac: str, vlan: int) -> None:
    slot = pci.slot_of(vif)
    parent, number = pci.interface(slot, physical=True), pci.vf_number(slot)
    links.set_vf(parent, number, "mac", mac, "vlan", str(vlan), port_id=vif.id)
    state = "up" if vlan else "down"  # as nova-compute does; libvirt switches it on for the guest
    links.set_device(pci.interface(slot), "address", mac, state, port_id=vif.id)
