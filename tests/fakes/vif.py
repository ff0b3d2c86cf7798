"""A VIF driver that plugs into nothing, and remembers."""

from __future__ import annotations

from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import SwitchUnavailable, VifPlugError, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class FakeVifDriver(VifDriver):
    """Plugs ``ovs`` ports; ``broken`` holds ids of ports that cannot be plugged, ``unknown`` of
    those that are of another kind, and ``dead`` says that the switch does not answer."""

    uses_switch = False

    def __init__(self) -> None:
        self.ports: dict[str, str] = {}  # port id -> server uuid
        self.broken: set[str] = set()
        self.unknown: set[str] = set()
        self.dead = False
        self._devices: dict[str, Vif] = {}

    def needs_switch(self, vif: Vif) -> bool:
        return vif.vif_type == "ovs"

    def require(self, vif: Vif) -> None:
        if vif.vif_type != "ovs" or vif.vnic_type != "normal" or vif.id in self.unknown:
            raise VifTypeUnsupported(f"port {vif.id}: vif_type {vif.vif_type!r} is not supported")

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self.require(vif)
        self.check()
        if vif.id in self.broken:
            raise VifPlugError(f"cannot plug port {vif.id}: broken on purpose")
        self.ports[vif.id] = server_uuid
        self._devices[vif.id] = vif

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.vif_type in ("", "unbound", "binding_failed"):
            return
        self.require(vif)
        self.check()
        # By the name of the device, as the real ones do it.
        for port in [port for port in self.ports if self._devices[port].devname == vif.devname]:
            del self.ports[port]

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        self.check()
        found: dict[str, list[Vif]] = {}
        for port, server in self.ports.items():
            if server_uuid in (None, server):
                found.setdefault(server, []).append(self._devices[port])
        return found

    def check(self) -> None:
        if self.dead:
            raise SwitchUnavailable("Open vSwitch does not answer: dead on purpose")
        self.uses_switch = True

    def plugged(self, vif: Vif) -> bool:
        self.require(vif)
        return vif.id in self.ports

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        self.require(vif)
        return NicSpec(
            mac=vif.mac,
            plug="tap" if vif.made_before else "ethernet",
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
        )
