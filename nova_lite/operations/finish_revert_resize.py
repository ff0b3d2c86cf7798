"""finish_revert_resize: this host gets a server back, as it was before it left or was resized.

The other host has removed its guest, so that this one may use disks and volumes again.

Resume rule: forward. From the first step on the server is this host's. A failure leaves it in ERROR
with a fault, its old disks kept or in place, so that a hard reboot or an evacuation can help.
"""

from __future__ import annotations

from nova_lite.errors import MoveSuperseded
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import MoveBack
from nova_lite.services import move_ends, moves
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices, to_activate, to_settle_key
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.move.arrive import RestoreNvram, SyncTime, TakeInTpm
from nova_lite.steps.move_back.finish import (
    BindReturned,
    RecordReturned,
    RecordReturning,
    RestoreKept,
    RevertSwap,
    TakeBackResources,
    WaitForReturnedPorts,
)
from nova_lite.steps.network.ports import PlugInterfaces
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import AttachReservedVolumes
from nova_lite.wire.objects import WireObject


class FinishRevertResize(MoveBack):
    event = "compute_finish_revert_resize"
    requires = {"migration": WireObject, "request_spec": object}
    notifies = "resize_revert"

    def load(self) -> None:
        work = self.work
        self.tools.events.watch(work.uuid)
        moves.reload(work)
        status = move_ends.told_status(work)
        task = work.instance.get("task_state")
        if work.resumed and work.here and task is None:
            self._is_over = True
        elif status != move_ends.REVERTED or task != TaskState.RESIZE_REVERTING:
            raise MoveSuperseded(
                f"Migration {self.migration['uuid']} of server {work.uuid} is {status}: it does "
                "not bring the server back to this host any more"
            )

    def plan(self) -> Plan:
        work = self.work
        if self._is_over:
            return []
        runs = moves.ran_before(work)
        started: Plan = [
            (StartGuest(work),),
            (WaitForReturnedPorts(work),),
            (SyncTime(work), *to_activate(work)),
        ]
        return [
            *to_settle_key(work, "flavor", "old_flavor"),
            (RevertSwap(work),),
            (RecordReturning(work),),
            (TakeBackResources(work),),
            (BindReturned(work), RestoreKept(work)),
            (PlugInterfaces(work), AttachReservedVolumes(work), *to_mount(work)),
            (TakeInTpm(work),),
            (DefineGuest(work),),
            (RestoreNvram(work),),
            (RestoreConfigDrive(work), DescribeDevices(work)),
            *(started if runs else []),
            (RecordReturned(work, VmState.ACTIVE if runs else VmState.STOPPED),),
        ]
