"""settle_move: a server of this host is in the middle of a move, and no journal has the operation.

Nobody sends it: the survey at start begins it (``membership/survey.py``). A stock nova-compute was
stopped in the middle, or the message of the other host is lost. The records say what is next:

* its disks have come, and are to be made ready: ``finish_resize``, without a word of what was sent;
* it is going back to its old host: ``revert_resize`` or ``finish_revert_resize``;
* it came to this host from another cell, or was to: ``settle_cell_move``;
* it was about to leave, and is still this host's: this class brings it up again, and ends the move.

Resume rule: forward. A failure leaves the server in ERROR with a fault.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.base import Operation
from nova_lite.operations.finish_resize import FinishResize
from nova_lite.operations.finish_revert_resize import FinishRevertResize
from nova_lite.operations.move import Move
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.operations.revert_resize import RevertResize
from nova_lite.operations.settle_cell_move import SettleCellMove
from nova_lite.services import move_ends, moves
from nova_lite.services.ownership import Place, place
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices, to_activate
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.move_back.settle import BringBackFiles, EndMove
from nova_lite.steps.network.binding import BindPorts
from nova_lite.steps.network.ports import PlugInterfaces, WaitForPorts
from nova_lite.steps.records.server import ReportPower
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import CheckVolumes
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# What the messages have that the records do not: nothing is known of it.
_ARGUMENTS: Mapping[str, Any] = {"image": None, "disk_info": "[]", "request_spec": None}
_REDO = AfterRestart(Settlement.REDO, _ARGUMENTS, with_migration=True)


class SettleMove(Move):
    event = "compute_resize_instance"
    own_tasks = (TaskState.RESIZE_MIGRATING,)
    after_restart = {
        TaskState.RESIZE_MIGRATING: _REDO,
        TaskState.RESIZE_MIGRATED: _REDO,
        TaskState.RESIZE_REVERTING: _REDO,
        # The guest of a half finished one may be off, or not there at all.
        TaskState.RESIZE_FINISH: AfterRestart(
            Settlement.REDO, _ARGUMENTS, with_migration=True, task_state=TaskState.RESIZE_MIGRATED
        ),
    }

    @classmethod
    def variant(cls, arguments: Mapping[str, Any]) -> type[Operation]:
        instance, migration = arguments["instance"], arguments["migration"]
        task = instance.get("task_state")
        if migration.get("cross_cell_move") and _is_new_host(instance, migration):
            return SettleCellMove
        if task == TaskState.RESIZE_MIGRATED:
            return FinishResize
        if task == TaskState.RESIZE_REVERTING:
            returned = place(instance, str(migration["source_compute"])) is Place.HERE
            over = migration["status"] == move_ends.REVERTED
            return FinishRevertResize if returned and over else RevertResize
        return cls

    def load(self) -> None:
        self.tools.events.watch(self.work.uuid)
        moves.reload(self.work)

    def plan(self) -> Plan:
        work = self.work
        if not work.here or work.instance.get("task_state") not in self.own_tasks:
            return []
        runs = moves.ran_before(work)
        start: Plan = [(StartGuest(work),), (WaitForPorts(work),), to_activate(work)]
        state = VmState.ACTIVE if runs else VmState.STOPPED
        return [
            (BringBackFiles(work), BindPorts(work)),
            (PlugInterfaces(work), CheckVolumes(work), *to_mount(work)),
            (DefineGuest(work),),
            (RestoreConfigDrive(work), DescribeDevices(work)),
            *(start if runs else []),
            (EndMove(work, self._end),),
            (ReportPower(work, state, [TaskState.RESIZE_MIGRATING], **move_ends.ended(work)),),
        ]

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if failure.verdict is Verdict.GONE:
            LOG.info("Server %s is about something else by now: %s", work.uuid, failure.message)
            return
        self._end()
        self.tell(failure)
        self.save_failed(vm_state=VmState.ERROR, task_state=None, **move_ends.ended(work))

    def _end(self) -> None:
        """Let the server hold what it held before, and record that the move has failed."""
        self.give_back()
        self.end_migration()


def _is_new_host(instance: WireObject, migration: WireObject) -> bool:
    """Whether the record names the host that the move leads to."""
    return place(instance, str(migration["dest_compute"])) is Place.HERE
