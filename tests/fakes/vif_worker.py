"""Runs the VIF drivers beside a private Open vSwitch, for the contract tests; see private_ovs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif
from tests.fakes.conf_file import read_conf
from tests.fakes.entry_points import declared
from tests.fakes.private_ovs import PrivateOvs, Worker

_drivers: VifDrivers | None = None


def start(folder: str, connection: str) -> None:
    """Make the drivers, inside the namespaces."""
    global _drivers
    conf = read_conf(Path(folder), {"os_vif_ovs": {"ovsdb_connection": connection}})
    _drivers = VifDrivers(conf, declared("nova_lite.vif"))


def call(method: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Call a method of the drivers, inside the namespaces."""
    return getattr(_drivers, method)(*arguments, **keywords)


def rss_kib() -> int:
    """Resident memory of the process that the driver is in."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


class RemoteVifs(VifDriver):
    """The drivers inside the namespaces, used from outside."""

    def __init__(self, switch: PrivateOvs, folder: Path, worker: Worker | None = None) -> None:
        """:param worker: where they run, if not beside the switch"""
        self.switch, self.folder, self.worker = switch, folder, worker or switch
        self.worker.call("tests.fakes.vif_worker:start", str(folder), switch.connection)

    def _call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        return self.worker.call("tests.fakes.vif_worker:call", method, arguments, keywords)

    def supports(self, vif: Vif) -> bool:
        return self._call("supports", vif)

    def require(self, vif: Vif) -> None:
        self._call("require", vif)

    def plug(self, vif: Vif, **server: str) -> None:
        self._call("plug", vif, **server)

    def unplug(self, vif: Vif, **server: str) -> None:
        self._call("unplug", vif, **server)

    def check(self) -> None:
        self._call("check")

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        return self._call("plugged_vifs", server_uuid)

    def plugged(self, vif: Vif) -> bool:
        return self._call("plugged", vif)

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return self._call("nic", vif, model=model, queues=queues)
