"""Steps that take an evacuated server off its old host, and leave alone what the new one has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError
from nova_lite.services import cut_moves, kept_disks, shares
from nova_lite.services.disk_files import Seen, directory, remove_files, remove_tree
from nova_lite.services.shared_storage import shared_with
from nova_lite.services.volumes import disconnect_own, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class DisconnectOwnVolumes(Step):
    """Disconnect the server's volumes from this host; Cinder's attachments are the other one's."""

    name = "disconnect_own_volumes"

    def do(self) -> None:
        work, errors = self.work, []
        for mapping in volume_mappings(work):
            try:
                disconnect_own(work, mapping)
            except ControlPlaneUnavailable:
                raise
            except NovaLiteError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class ReleaseOwnShares(Step):
    """Unmount the server's shares, and have Manila shut this host out of them."""

    name = "release_own_shares"

    def do(self) -> None:
        work = self.work
        for mapping in shares.mappings(work):
            try:
                shares.unmount_and_deny(work, mapping)
            except ControlPlaneUnavailable:
                raise
            except NovaLiteError as error:
                LOG.warning("Share %s of server %s: %s", mapping["share_id"], work.uuid, error)


class RemoveOwnFiles(Step):
    """Remove the server's disks and directory, unless the other host uses the same ones.

    :param host: who has the server now; None while that is not decided
    """

    name = "remove_own_files"

    def __init__(self, work: Work, host: str | None) -> None:
        super().__init__(work)
        self._host = host

    def do(self) -> None:
        work = self.work
        kept = kept_disks.kept_directory(work)  # of a move that was cut off
        if work.instance.get("deleted"):
            remove_files(work)  # nobody has it
            remove_tree(kept)
            return
        for where in (directory(work), kept):
            self._remove(where)

    def _remove(self, where: Path) -> None:
        work = self.work
        with Seen(where) as seen:
            # The rest of a removal that was cut off is nobody's.
            if where.exists() and (shared := shared_with(work, self._host, where)) is not False:
                why = f"host {self._host} has them, too" if shared else "it may be shared"
                LOG.warning("The files of server %s in %s stay: %s", work.uuid, where, why)
                return
            if where == directory(work) and not self.tools.disks.shared:
                self.tools.disks.remove_all(where)
            remove_tree(where, seen)


class DropHostAllocation(Step):
    """Give back the server's share of this host in Placement, and nothing of the other host's."""

    name = "drop_host_allocation"

    def do(self) -> None:
        self.tools.placement.drop_provider(self.work.uuid, self.tools.node_uuid)


class EndCutMove(Step):
    """Record that a move from here is over that the evacuation has overtaken.

    :param record: its migration
    """

    name = "end_cut_move"

    def __init__(self, work: Work, record: WireObject) -> None:
        super().__init__(work)
        self._record = record

    def do(self) -> None:
        cut_moves.end(self.work, self._record)


class CompleteEvacuation(Step):
    """Record that this host was cleaned up.

    :param migrations: the evacuations of the server from this host
    """

    name = "complete_evacuation"

    def __init__(self, work: Work, migrations: Sequence[WireObject]) -> None:
        super().__init__(work)
        self._migrations = migrations

    def do(self) -> None:
        work = self.work
        for migration in self._migrations:
            try:
                self.tools.migrations.complete(work.context, migration)
            except RemoteFailure as error:
                if not work.instance.get("deleted"):
                    raise
                LOG.info("The migration of deleted server %s stays as it is: %s",
                         work.uuid, error)  # fmt: skip
