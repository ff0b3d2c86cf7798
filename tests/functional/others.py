"""The other hosts of a trial, as the agent of one of them reaches them.

Their directories are beside its own. What is cast to them is kept with the cloud's ledger, for the
test to deliver.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.errors import ControlPlaneUnavailable, PeerUnavailable
from nova_lite.wire.objects import unwrap
from tests.fakes.cloud import Ledger
from tests.fakes.remote_files import FakeRemoteFiles
from tests.functional import exchange

# What is answered for a host that has no agent of its own.
WITHOUT_AGENT = ("drop_move_claim_at_destination", "check_instance_shared_storage")


class OtherHosts:
    """Hosts that have disks of their own, and their agents over the broker.

    :param own: the directory of this host
    :param cloud: the one that the directories of all hosts are in
    :param name: of this host
    :param lossy: the first answer of each kind is lost on its way, and so is what the broker says
        of a message that it has taken
    :param exchange: where agents are called, see ``exchange``, which loses answers by itself; None:
        nobody is called
    """

    def __init__(
        self, own: Path, cloud: Path, name: str, *, lossy: bool = False, exchange: str | None = None
    ) -> None:
        self._own, self._cloud, self._name = own, cloud, name
        self._lossy, self._exchange = lossy, exchange
        self._seen: set[str] = set()

    def call(self, context: Any, host: str, method: str, **arguments: Any) -> Any:
        if not (self._cloud / host).is_dir():
            raise PeerUnavailable(f"host {host} did not answer {method}")
        if self._exchange is not None and method not in WITHOUT_AGENT:
            return exchange.ask(self._exchange, context, host, method, arguments)
        if self._lost(method):
            raise PeerUnavailable(f"host {host} did not answer {method}")
        if method == "drop_move_claim_at_destination":
            return None  # claims are in an agent's memory, and none lives for long here
        assert method == "check_instance_shared_storage"
        asked = Path(arguments["data"]["filename"]).relative_to(self._own)
        return (self._cloud / host / asked).exists()

    def cast(self, context: Any, host: str, method: str, **arguments: Any) -> None:
        with Ledger(self._cloud / "cloud.json").open() as content:
            plain = {name: unwrap(value) for name, value in arguments.items()}
            content.setdefault("sent", []).append([host, method, plain])
        if self._lost(method):
            raise ControlPlaneUnavailable(f"the broker does not tell whether it has {method}")

    def reports(self, context: Any, host: str, service: int) -> bool:
        """All are of the newest release."""
        return True

    def is_fenced(self, context: Any, host: str) -> bool:
        """Nobody says so of a host."""
        return False

    def _lost(self, method: str) -> bool:
        first = method not in self._seen
        self._seen.add(method)
        return self._lossy and first

    def files(self, address: str, name: str) -> RemoteFiles:
        """The files of another host."""
        here, there = self._own / "instances", self._cloud / name / "instances"
        if self._own.name == self._name:
            return FakeRemoteFiles(here, there)
        return SamePaths(here, there)


class SamePaths(FakeRemoteFiles):
    """Of hosts on which the directory has one path: what is fetched from there is named as here."""

    def fetch(self, remote_path: str, local: Path) -> None:
        shutil.copyfile(self._at("fetch", remote_path), local)
