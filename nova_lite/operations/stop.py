"""stop_instance: send an ACPI shutdown, then destroy a guest that ignores it.

Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.records.server import ReportPower
from nova_lite.steps.shares import to_unmount


class Stop(PowerOperation):
    event = "compute_stop_instance"
    notifies = "power_off"
    needs = ("system_metadata",)
    after_restart = {
        TaskState.POWERING_OFF: AfterRestart(
            Settlement.REDO, {"clean_shutdown": True}, in_error=True
        )
    }

    def plan(self) -> Plan:
        work = self.work
        return [
            (PowerOff(work, gracefully=bool(work.arguments.get("clean_shutdown", True))),),
            to_unmount(work),
            (ReportPower(work, VmState.STOPPED, [TaskState.POWERING_OFF]),),
        ]
