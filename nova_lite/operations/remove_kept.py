"""remove_kept: nothing of a move that is over stays on the host that the server has left.

Nobody sends it: this host begins it where it finds files that were kept for a move
(``loops.kept_disks``), whose end it has not heard of. Stock nova-compute leaves them for ever.

Removed is what belongs to a server that was deleted, or to a move that is confirmed. Everything
else stays, and is named in the log: after a failed move it may be the only copy of the disks.

Resume rule: forward; it looks at the records anew.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.operations.confirm_resize import cleaning
from nova_lite.services import kept_disks, move_ends
from nova_lite.services.disk_files import directory
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.move_back.confirm import ReleaseKept
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class RemoveKept(Operation):
    event = None
    places = ANYWHERE

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._unwanted = False

    def load(self) -> None:
        work = self.work
        if not kept_disks.are_kept(work):
            return
        try:
            exists = move_ends.look(work)
        except ServerNotFound:
            LOG.info("Nobody knows the server whose files are in %s; they are left alone",
                     kept_disks.kept_directory(work))  # fmt: skip
            return
        self._unwanted = not exists or self._is_confirmed()
        if self._unwanted and not work.here:
            remember_own_side(work)

    def _is_confirmed(self) -> bool:
        work, tools = self.work, self.tools
        migration = tools.migrations.latest_of_server(work.context, work.uuid)
        if migration is not None and self._goes_on(migration):
            return False
        ours = migration is not None and migration.get("source_compute") == tools.host
        confirmed = migration is not None and migration.get("status") == move_ends.CONFIRMED
        # Another host that shares the directory may keep something under the same name by now.
        apart = work.here or not directory(work).exists()
        if ours and confirmed and apart:
            return True
        LOG.warning("Server %s has files of an earlier move in %s; they are left alone. If the "
                    "server has its disks, remove them",
                    work.uuid, kept_disks.kept_directory(work))  # fmt: skip
        return False

    def _goes_on(self, migration: WireObject) -> bool:
        """Whether a revert may still want them: one that was given back is not over."""
        status = migration.get("status")
        given_back = status == move_ends.REVERTED and self.work.instance.get("task_state")
        return bool(given_back) or move_ends.is_open(migration)

    def plan(self) -> Plan:
        if not self._unwanted:
            return []
        LOG.info("Server %s has left files here that nobody wants any more", self.work.uuid)
        return [*cleaning(self.work), (ReleaseKept(self.work),)]

    def failed(self, failure: Failure) -> None:
        LOG.error("What server %s has left here is not removed, and will be tried again: %s",
                  self.work.uuid, failure.message)  # fmt: skip
