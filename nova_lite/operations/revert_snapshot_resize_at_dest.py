"""revert_snapshot_based_resize_at_dest: a server goes back to the cell that it came from; remove
all that this host has of it.

nova-conductor deletes the record of this cell afterwards, and has the old host start the server
again, which has kept all that it had.

Resume rule: forward; every step may be repeated. A failure leaves a fault and the server in ERROR.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, ServerNotFound
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import Move
from nova_lite.operations.notified import ERROR, EXCEPTION, EXISTS, START
from nova_lite.services import cell_moves, move_ends, moves
from nova_lite.steps.base import Plan
from nova_lite.steps.cells.arrive import ForgetArrival
from nova_lite.steps.cells.end import DetachOwnVolumes, GiveBackPorts
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.move_back.revert import RecordGivenBack
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class RevertSnapshotResizeAtDest(Move):
    event = "compute_revert_snapshot_based_resize_at_dest"
    requires = {"migration": WireObject}
    answers = True
    own_tasks: tuple[str, ...] = (TaskState.RESIZE_REVERTING,)

    def load(self) -> None:
        work = self.work
        try:
            cell_moves.require(
                work, TaskState.RESIZE_REVERTING, move_ends.REVERTING, move_ends.REVERTED
            )
        except ServerNotFound:
            if not work.resumed:
                raise
            LOG.info("Server %s has no record in this cell any more", work.uuid)
        if not (work.here and moves.comes_here(work)):
            raise cell_moves.superseded(work, "the server did not come to this host with it")
        remember_ports(work)

    def plan(self) -> Plan:
        return [*self.removal(), (RecordGivenBack(self.work),)]

    def removal(self) -> Plan:
        """Nothing of the server is left here."""
        work = self.work
        return [
            (RemoveGuest(work), ForgetConsoles(work)),
            (UnplugInterfaces(work), DetachOwnVolumes(work)),
            (GiveBackPorts(work),),
            (RemoveDisks(work),),
            (ForgetArrival(work),),
        ]

    def notifications(self, phase: str) -> list[str]:
        """Only the usage audit, as in stock: nova-conductor tells of the revert."""
        if phase == START:
            return [EXISTS]
        return [EXCEPTION] if phase == ERROR else []

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if failure.nova_name == MoveSuperseded.nova_name:
            LOG.info("Server %s does not go back: %s", work.uuid, failure.message)
            return
        if failure.nova_name == ServerNotFound.nova_name:
            tools.claims.release(work.uuid)
            tools.usage_changed()
            return
        self.tell(failure)
        self.end_migration()
        self.save_failed(vm_state=VmState.ERROR, task_state=None)
