"""set_admin_password: set it through the QEMU guest agent; nova-api waits for the answer.

Resume rule: forward. After a power failure that came before the guest had the password it fails
and clears the task state, for the password was in memory only.
"""

from __future__ import annotations

from nova_lite.model.states import TaskState
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.agent import ReportPassword, SetPassword


class SetAdminPassword(PowerOperation):
    event = "compute_set_admin_password"
    requires = {"new_pass": str}
    needs = ("system_metadata", "os_type", "key_data")
    answers = True
    last_resort = {"task_state": None}
    called_with_task_state = True
    after_restart = {TaskState.UPDATING_PASSWORD: AfterRestart(Settlement.CLEAR)}

    def plan(self) -> Plan:
        return [(SetPassword(self.work),), (ReportPassword(self.work),)]
