"""The other hosts of a trial, as the agent of one of them reaches them.

Their directories are beside its own. What is cast to them is kept with the cloud's ledger, for the
test to deliver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_lite.errors import PeerUnavailable
from nova_lite.wire.objects import unwrap
from tests.fakes.cloud import Ledger
from tests.fakes.remote_files import FakeRemoteFiles


class OtherHosts:
    """Hosts that have disks of their own, and their agents over the broker.

    :param own: the directory of this host
    :param cloud: the one that the directories of all hosts are in
    """

    def __init__(self, own: Path, cloud: Path) -> None:
        self._own, self._cloud = own, cloud

    def call(self, context: Any, host: str, method: str, **arguments: Any) -> Any:
        if not (self._cloud / host).is_dir():
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

    def files(self, address: str, name: str) -> FakeRemoteFiles:
        """The files of another host."""
        return FakeRemoteFiles(self._own / "instances", self._cloud / name / "instances")
