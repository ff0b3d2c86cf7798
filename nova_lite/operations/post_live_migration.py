"""post_live_migration_at_destination: a running server has come to this host.

The host that it has left asks, and waits. From the save that makes this host the server's on, users
can do anything with it; what is asked meanwhile waits in its queue until this is over.

Resume rule: forward; nothing is ever taken back, for the guest is here. Asked twice it does the
rest that is left.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import arrivals
from nova_lite.services.notes import ArrivalNotes
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.live.arrive import (
    BindArrived,
    DefineArrived,
    FindArrived,
    RecordArrived,
    SettleArrived,
    to_announce,
)

LOG = logging.getLogger(__name__)


class PostLiveMigration(Operation):
    event = "compute_post_live_migration_at_destination"
    requires = {"block_migration": object}
    answers = True
    places = ANYWHERE  # the record names the other host; it finds out by itself
    notifies = "live_migration_post_dest"
    between_hosts = True
    last_resort = {}

    def load(self) -> None:
        work = self.work
        work.reload()
        if ArrivalNotes.of(work.notes).left_host is not None:
            return
        migration = arrivals.migration_to_here(work)
        if migration is not None:
            work.note(left_host=str(migration["source_compute"]))
        elif not work.here:
            raise MoveSuperseded(
                f"Server {work.uuid} is not on its way to host {self.tools.host} any more"
            )

    def plan(self) -> Plan:
        work = self.work
        return [
            (FindArrived(work),),
            (RecordArrived(work),),
            NoWayBack("its record leads to this host", self.succeeded),
            (BindArrived(work),),
            to_announce(work),
            (DefineArrived(work),),
            (SettleArrived(work),),
        ]

    def succeeded(self) -> bool:
        """What is here by its record is here, whatever else has failed."""
        try:
            self.work.reload()
        except ServerNotFound:
            return False
        return self.work.here

    def failed(self, failure: Failure) -> None:
        """The other host goes on: it asks again, or records where the server is by itself."""
        if failure.nova_name == MoveSuperseded.nova_name or failure.verdict is Verdict.GONE:
            LOG.info("Server %s has not come to this host: %s", self.work.uuid, failure.message)
            return
        self.tell(failure)
