"""revert_resize: give a server back to the host that it came from.

The guest goes first, so that two hosts do not run the server; then what it has here; then the other
host is asked to start it from what that has kept (``finish_revert_resize``).

Resume rule: forward. A failure before the guest is removed leaves the server RESIZED with a fault:
it can be reverted again. Afterwards it is in ERROR. The message to the other host may be sent
twice; that one knows which migration it has brought back already.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, ServerBeingDeleted, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import Move
from nova_lite.operations.notified import ERROR, EXCEPTION, EXISTS, START
from nova_lite.services import move_ends, moves, shares
from nova_lite.services.work import Work
from nova_lite.steps.base import NoWayBack, Plan, Step
from nova_lite.steps.evacuated import ReleaseOwnShares
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.move_back.revert import (
    AskAboutFiles,
    RecordGivenBack,
    RemoveCopy,
    ReturnToSource,
)
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.steps.shares import to_unmount
from nova_lite.steps.volume.moves import ReserveVolumes
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class RevertResize(Move):
    event = "compute_revert_resize"
    requires = {"migration": WireObject, "request_spec": object}
    own_tasks = (TaskState.RESIZE_REVERTING,)

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._status: str | None = None

    def load(self) -> None:
        work = self.work
        moves.reload(work)
        self._status = move_ends.told_status(work)
        task, ours = work.instance.get("task_state"), work.here and moves.comes_here(work)
        waits = task == TaskState.RESIZE_REVERTING and ours
        if not waits or self._status not in (move_ends.REVERTING, move_ends.REVERTED):
            raise MoveSuperseded(
                f"Migration {self.migration['uuid']} of server {work.uuid} is {self._status}: it "
                "is not to be reverted by this host any more"
            )
        remember_ports(work)

    def plan(self) -> Plan:
        work = self.work
        end: Plan = [(RecordGivenBack(work),), (ReturnToSource(work),)]
        if self._status == move_ends.REVERTED:
            return end
        return [
            (AskAboutFiles(work),),
            NoWayBack("its guest is being removed"),
            (RemoveGuest(work), ForgetConsoles(work)),
            (
                UnplugInterfaces(work),
                ReserveVolumes(work, for_host=True),
                *self._release_shares(),
            ),
            (RemoveCopy(work),),
            *end,
        ]

    def _release_shares(self) -> tuple[Step, ...]:
        """On one host the access rules go on to be needed."""
        work = self.work
        if moves.stays_here(work):
            return to_unmount(work)
        return (ReleaseOwnShares(work),) if shares.possible(work) else ()

    def notifications(self, phase: str) -> list[str]:
        """Only the usage audit, as in stock: the other host tells of the revert."""
        if phase == START:
            return [EXISTS]
        return [EXCEPTION] if phase == ERROR else []

    def failed(self, failure: Failure) -> None:
        work = self.work
        if failure.nova_name == ServerBeingDeleted.nova_name:
            # nova-api confirms a resized server before it deletes it, but not one on its way back.
            self.let_go()
        if failure.verdict is Verdict.GONE:
            LOG.info("Server %s does not go back: %s", work.uuid, failure.message)
            return
        self.tell(failure)
        if self.past_return or self._status == move_ends.REVERTED:
            self.end_migration()
            self.save_failed(vm_state=VmState.ERROR, task_state=None)
        else:
            self.end_migration(move_ends.FINISHED)
            self.save_failed(task_state=None)
