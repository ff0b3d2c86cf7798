"""The other hosts of a trial, as the agent of one of them reaches them.

Their directories are beside its own. What is cast to them is kept with the cloud's ledger, for the
test to deliver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_lite.errors import ControlPlaneUnavailable, PeerUnavailable
from nova_lite.wire.objects import unwrap
from tests.fakes.cloud import Ledger
from tests.fakes.remote_files import FakeRemoteFiles


class OtherHosts:
    """Hosts that have disks of their own, and their agents over the broker.

    :param own: the directory of this host
    :param cloud: the one that the directories of all hosts are in
    :param lossy: the first answer of each kind is lost on its way, and so is what the broker says
        of a message that it has taken
    """

    def __init__(self, own: Path, cloud: Path, lossy: bool = False) -> None:
        self._own, self._cloud, self._lossy = own, cloud, lossy
        self._seen: set[str] = set()

    def call(self, context: Any, host: str, method: str, **arguments: Any) -> Any:
        if not (self._cloud / host).is_dir():
            raise PeerUnavailable(f"host {host} did not answer {method}")
        if self._lost(method):
            raise PeerUnavailable(f"host {host} did not answer {method}")
        if method == "drop_move_claim_at_destination":
            return None
        assert method == "check_instance_shared_storage"
        asked = Path(arguments["data"]["filename"]).relative_to(self._own)
        return (self._cloud / host / asked).exists()

    def cast(self, context: Any, host: str, method: str, **arguments: Any) -> None:
        with Ledger(self._cloud / "cloud.json").open() as content:
            plain = {name: unwrap(value) for name, value in arguments.items()}
            content.setdefault("sent", []).append([host, method, plain])
        if self._lost(method):
            raise ControlPlaneUnavailable(f"the broker does not tell whether it has {method}")

    def _lost(self, method: str) -> bool:
        first = method not in self._seen
        self._seen.add(method)
        return self._lossy and first

    def files(self, address: str, name: str) -> FakeRemoteFiles:
        """The files of another host."""
        return FakeRemoteFiles(self._own / "instances", self._cloud / name / "instances")
