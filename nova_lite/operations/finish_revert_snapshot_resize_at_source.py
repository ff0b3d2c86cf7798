"""finish_revert_snapshot_based_resize_at_source: a server is back from another cell; start it
again with what this host has kept.

nova-conductor has the other host remove what it had before it calls.

Resume rule: forward. A failure leaves the server here in ERROR with a fault, its disks in place, so
that a hard reboot can help.
"""

from __future__ import annotations

from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import MoveBack
from nova_lite.services import cell_moves, move_ends, moves
from nova_lite.steps.base import Plan
from nova_lite.steps.cells.end import BindReturnedFromCell, RecordBack, RecordReverted
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.move.arrive import SyncTime
from nova_lite.steps.move_back.finish import RecordReturning, TakeBackResources
from nova_lite.steps.network.ports import PlugInterfaces, WaitForPorts
from nova_lite.steps.volume.moves import AttachReservedVolumes
from nova_lite.wire.objects import WireObject


class FinishRevertSnapshotResizeAtSource(MoveBack):
    event = "compute_finish_revert_snapshot_based_resize_at_source"
    requires = {"migration": WireObject}
    answers = True

    def load(self) -> None:
        work = self.work
        self.tools.events.watch(work.uuid)
        status = move_ends.status(work)
        moves.reload(work)
        task = work.instance.get("task_state")
        if work.resumed and task is None and work.instance.get("vm_state") != VmState.ERROR:
            self._is_over = True
        elif status != move_ends.REVERTING or task != TaskState.RESIZE_REVERTING:
            raise cell_moves.superseded(
                work, f"the server is in task state {task}, the migration {status}"
            )

    def plan(self) -> Plan:
        work = self.work
        end: Plan = [(RecordReverted(work),)]
        if self._is_over:
            return end
        runs = moves.ran_before(work)
        started: Plan = [(StartGuest(work),), (WaitForPorts(work),), (SyncTime(work),)]
        return [
            (RecordReturning(work),),
            (TakeBackResources(work),),
            (BindReturnedFromCell(work),),
            (PlugInterfaces(work), AttachReservedVolumes(work)),
            (DefineGuest(work),),
            (RestoreConfigDrive(work), DescribeDevices(work)),
            *(started if runs else []),
            (RecordBack(work, VmState.ACTIVE if runs else VmState.STOPPED),),
            *end,
        ]
