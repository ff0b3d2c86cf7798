"""prep_snapshot_based_resize_at_dest: this host is to get a server from another cell.

It claims what the new flavor needs and records itself as the target; nova-conductor has bound the
ports to it already, and made attachments of the volumes. The answer is the MigrationContext.

Resume rule: roll back. nova-conductor does not wait for an answer that a dead process owes it; it
deletes the record. So does a claim whose answer comes too late. A failure leaves a fault.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.move import DELETED, Move
from nova_lite.operations.notified import END, ERROR, EXCEPTION
from nova_lite.operations.prep_resize import detail_of_flavor
from nova_lite.services import cell_moves, moves
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.cells.prepare import CheckCellMove, ClaimCellMove
from nova_lite.steps.move.prepare import RecordTarget
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class PrepSnapshotResizeAtDest(Move):
    event = "compute_prep_snapshot_based_resize_at_dest"
    requires = {
        "migration": WireObject,
        "flavor": WireObject,
        "nodename": object,
        "limits": object,
    }
    answers = True
    rolls_back_unanswered = True
    notifies = "resize_prep"
    notifies_mappings = False
    own_tasks = (TaskState.RESIZE_PREP,)
    last_resort = {"task_state": None}

    def load(self) -> None:
        work = self.work
        cell_moves.refuse_resumed(work)
        moves.reload(work)
        moves.require_current(work)
        if work.instance.get("task_state") != TaskState.RESIZE_PREP:
            raise cell_moves.superseded(work, "the server is not being prepared for it")

    def plan(self) -> Plan:
        work = self.work
        return [(CheckCellMove(work),), (ClaimCellMove(work),), (RecordTarget(work),), COMPLETE]

    def answer(self) -> Any:
        """What nova-conductor copies into the record of the other cell."""
        return self.work.instance["migration_context"]

    def notifications(self, phase: str) -> list[str]:
        """The end in any case, as in stock."""
        if phase == ERROR:
            return [f"{self.notifies}.{END}", EXCEPTION]
        return super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return detail_of_flavor(self.work.arguments["flavor"], phase)

    def failed(self, failure: Failure) -> None:
        """The rest is nova-conductor's work: it deletes the record, and keeps the old one."""
        work, tools = self.work, self.tools
        tools.usage_changed()
        if failure.nova_name in DELETED or self.is_stale(failure):
            LOG.info("Server %s does not come from another cell: %s", work.uuid, failure.message)
            return
        self.tell(failure)
