"""soft_delete_instance and restore_instance: power a deleted server off, and restore it.

Its disks, ports and allocations stay until it is reclaimed. Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.operations.start import Start
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.records.server import ReportPower
from nova_lite.steps.shares import to_unmount


class SoftDelete(PowerOperation):
    event = "compute_soft_delete_instance"
    notifies = "soft_delete"
    needs = ("system_metadata",)
    after_restart = {TaskState.SOFT_DELETING: AfterRestart(Settlement.REDO)}

    def plan(self) -> Plan:
        return [
            (PowerOff(self.work, gracefully=False),),
            to_unmount(self.work),
            (ReportPower(self.work, VmState.SOFT_DELETED, [TaskState.SOFT_DELETING]),),
        ]


class Restore(Start):
    """Start the server like any other that is off."""

    event = "compute_restore_instance"
    notifies = "restore"
    task_state = TaskState.RESTORING
    after_restart = {TaskState.RESTORING: AfterRestart(Settlement.REDO)}
