"""Steps about a live migration that goes on: end it, or let it come to its end."""

from __future__ import annotations

import logging

from nova_lite.errors import InvalidMigrationState
from nova_lite.services.work import Signal
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

METHOD = "live_migration"  # of the operation that is told
# Statuses in which a live migration can be ended: as stock has them.
ENDABLE = ("queued", "preparing", "running")


class EndMigration(Step):
    """Tell the live migration to be taken back, which it is when it comes to that.

    :raises InvalidMigrationState: it is over, in post-copy, or not from here
    """

    name = "end_migration"

    def do(self) -> None:
        work, tools = self.work, self.tools
        record = self._record()
        status = str(record.get("status")) if record is not None else "gone"
        # What was accepted is about to be begun.
        if status not in (*ENDABLE, "accepted"):
            raise InvalidMigrationState(
                f"Migration {self.work.arguments['migration_id']} state of instance {work.uuid} "
                f"is {status}. Cannot abort live migration while the migration is in this state."
            )
        if not tools.signal(work.uuid, Signal.ABORT, METHOD):
            LOG.warning("No live migration of server %s is known here; its hypervisor is told",
                        work.uuid)  # fmt: skip
            tools.hypervisor.abort_migration(work.uuid)

    def _record(self) -> WireObject | None:
        wanted = int(self.work.arguments["migration_id"])
        found = self.tools.migrations.of_server(self.work.context, self.work.uuid)
        return next((one for one in found if int(one["id"]) == wanted), None)


class ForceMigration(Step):
    """Tell the live migration to come to its end: by post-copy, or by holding the guest.

    :raises InvalidMigrationState: there is none from here
    """

    name = "force_migration"

    def do(self) -> None:
        work = self.work
        if not self.tools.signal(work.uuid, Signal.FORCE_COMPLETE, METHOD):
            raise InvalidMigrationState(
                f"no live migration of server {work.uuid} from host {self.tools.host} goes on"
            )
