"""confirm_snapshot_based_resize_at_source: a server stays in the cell that it has gone to; remove
what this host has kept of it: guest, files, attachments, bindings, claim and allocation.

nova-conductor deletes the record of this cell afterwards, and reports the end in the other one.

Resume rule: forward; each step leaves less of the server here. A failure gives back the allocation
in any case, as in stock, and leaves the record as it is: it can be confirmed again.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, ServerNotFound
from nova_lite.failures import Failure
from nova_lite.operations.move import Move
from nova_lite.services import cell_moves, move_ends
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.cells.end import DropAttachments, DropBindings
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.move_back.confirm import DropKeptAllocation, RecordConfirmed
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# nova-conductor sets the status in the record of the other cell alone; "error": of a confirm that
# has failed.
LEFT = ("post-migrating", "finished", "confirming", "error")


class ConfirmSnapshotResizeAtSource(Move):
    event = "compute_confirm_snapshot_based_resize_at_source"
    requires = {"migration": WireObject}
    answers = True
    notifies_mappings = False
    # The server runs on the other host.
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._cleaned = False

    def load(self) -> None:
        work = self.work
        status = move_ends.status(work)
        self._cleaned = work.resumed and status == move_ends.CONFIRMED
        try:
            exists = move_ends.look(work)
        except ServerNotFound:
            if not work.resumed:
                raise
            LOG.info("Server %s has no record in this cell any more", work.uuid)
            exists = False
        task = work.instance.get("task_state")
        waits = cell_moves.has_left(work) and status in LEFT
        if not (waits or self._cleaned or (work.resumed and not exists)):
            raise cell_moves.superseded(
                work, f"the server is in task state {task}, the migration {status}"
            )
        remember_own_side(work)

    def plan(self) -> Plan:
        work = self.work
        end: Plan = [(ReleaseResources(work),), (DropKeptAllocation(work),)]
        if self._cleaned:
            return end
        return [
            (RemoveGuest(work), ForgetConsoles(work)),
            (UnplugInterfaces(work),),
            (RemoveDisks(work),),
            (DropBindings(work), DropAttachments(work)),
            (RecordConfirmed(work),),
            *end,
        ]

    def failed(self, failure: Failure) -> None:
        work = self.work
        if failure.nova_name == MoveSuperseded.nova_name:
            LOG.info("What server %s has here is not removed: %s", work.uuid, failure.message)
            return
        self.let_go()
        self.tell(failure)
