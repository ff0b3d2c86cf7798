"""settle_move of a server that has come, or was to come, to this host from another cell.

Its record is in the middle of the move, and no journal has the operation. The other host cannot be
asked, and nova-conductor, which calls both hosts, has been stopped, or has given up, or does so
when it hears nothing from this host. So:

* the server is going back, and users have the record of its old cell: nothing of it stays here;
* it was to go back, and nova-conductor has not begun: it stays, and its user may ask again;
* it was about to come: nothing of it stays here, for it goes on in its old cell.

Resume rule: forward; every step may be repeated.
"""

from __future__ import annotations

from nova_lite.errors import AnswerLost, MigrationError
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.revert_snapshot_resize_at_dest import RevertSnapshotResizeAtDest
from nova_lite.services import cell_moves, move_ends, moves
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.move_back.settle import EndMove
from nova_lite.steps.network.binding import remember_ports


class SettleCellMove(RevertSnapshotResizeAtDest):
    answers = False
    own_tasks = (TaskState.RESIZE_REVERTING, TaskState.RESIZE_MIGRATED)

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._status: str | None = None
        self._is_to_stay = False

    def load(self) -> None:
        work = self.work
        self._status = move_ends.status(work)
        moves.reload(work)
        if self._is_over:
            return
        if self._is_going_back and not cell_moves.is_going_back(work):
            self._is_to_stay = True
            raise MigrationError(
                "nova-conductor has not begun to bring the server back to its old cell; revert the "
                "resize again"
            )
        remember_ports(work)

    @property
    def _is_going_back(self) -> bool:
        return bool(self.work.instance.get("task_state") == TaskState.RESIZE_REVERTING)

    @property
    def _is_over(self) -> bool:
        """What was here went once; by now the server may be anywhere."""
        return not self.work.here or self._status == move_ends.REVERTED

    def plan(self) -> Plan:
        if self._is_over:
            return []
        if self._is_going_back:
            return super().plan()
        return [*self.removal(), (EndMove(self.work, self._end),)]

    def _end(self) -> None:
        """The server is none of this host's, and no move leads it here."""
        work, tools = self.work, self.tools
        tools.claims.release(work.uuid)
        tools.usage_changed()
        self.end_migration()
        self.tell(Failure.of(AnswerLost(
            "the compute agent was stopped while the server came from another cell: the move is "
            "taken back; ask for it again"
        )))  # fmt: skip
        fields = cell_moves.given_back(work)
        self.save_failed(vm_state=VmState.ERROR, task_state=None, **fields)

    def failed(self, failure: Failure) -> None:
        if not self._is_to_stay:
            super().failed(failure)
            return
        self.tell(failure)
        self.end_migration(move_ends.FINISHED)
        self.save_failed(task_state=None)
