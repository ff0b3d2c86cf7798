"""pause_instance and unpause_instance: pause and resume the guest's vCPUs.

Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.power import RunningGuestOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.domain import PauseGuest, UnpauseGuest
from nova_lite.steps.records.server import ReportPower


class Pause(RunningGuestOperation):
    event = "compute_pause_instance"
    notifies = "pause"
    after_restart = {TaskState.PAUSING: AfterRestart(Settlement.REDO, unless_running=True)}

    def plan(self) -> Plan:
        work = self.work
        return [
            (PauseGuest(work),),
            (ReportPower(work, VmState.PAUSED, [TaskState.PAUSING]),),
        ]


class Unpause(RunningGuestOperation):
    event = "compute_unpause_instance"
    notifies = "unpause"
    after_restart = {TaskState.UNPAUSING: AfterRestart(Settlement.REDO, unless_running=True)}

    def plan(self) -> Plan:
        work = self.work
        return [
            (UnpauseGuest(work),),
            (ReportPower(work, VmState.ACTIVE, [TaskState.UNPAUSING]),),
        ]
