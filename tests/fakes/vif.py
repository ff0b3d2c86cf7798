"""A VIF driver that plugs into nothing, and remembers."""

from __future__ import annotations

from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import VifPlugError, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class FakeVifDriver(VifDriver):
    """Plugs ``ovs`` ports; ``broken`` holds ids of ports that cannot be plugged."""

    def __init__(self) -> None:
        self.ports: dict[str, str] = {}  # port id -> server uuid
        self.broken: set[str] = set()

    def supports(self, vif: Vif) -> bool:
        return vif.vif_type == "ovs" and vif.vnic_type == "normal"

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self._check(vif)
        if vif.id in self.broken:
            raise VifPlugError(f"cannot plug port {vif.id}: broken on purpose")
        self.ports[vif.id] = server_uuid

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.vif_type in ("", "unbound", "binding_failed"):
            return
        self._check(vif)
        self.ports.pop(vif.id, None)

    def plugged(self, vif: Vif) -> bool:
        self._check(vif)
        return vif.id in self.ports

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        self._check(vif)
        return NicSpec(
            mac=vif.mac,
            plug="tap",
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
        )

    def _check(self, vif: Vif) -> None:
        if not self.supports(vif):
            raise VifTypeUnsupported(f"port {vif.id}: vif_type {vif.vif_type!r} is not supported")
