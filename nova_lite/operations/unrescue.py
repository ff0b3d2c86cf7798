"""unrescue_instance: boot the server from its own disks again, and remove the rescue files.

Resume rule: forward. The guest's domain XML was saved in its directory, so that the instance need
not be reloaded. If the rescue system is off, the host may have been rebooted: then the instance is
reloaded and its interfaces are plugged again.
"""

from __future__ import annotations

from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services.power_state import is_running
from nova_lite.steps.base import Plan, Stage
from nova_lite.steps.guest.domain import PowerOff, StartGuest
from nova_lite.steps.guest.rescue import CheckGuestBack, PutGuestBack, RemoveRescueFiles
from nova_lite.steps.network.ports import PlugInterfaces
from nova_lite.steps.records.server import ReportPower
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import CheckVolumes


class Unrescue(PowerOperation):
    event = "compute_unrescue_instance"
    notifies = "unrescue"
    # What a rescue was asked for is not known any more: the server boots from its own disks.
    after_restart = {
        TaskState.RESCUING: AfterRestart(
            Settlement.REDO, task_state=TaskState.UNRESCUING, in_error=True
        ),
        TaskState.UNRESCUING: AfterRestart(Settlement.REDO, in_error=True),
    }

    def load(self) -> None:
        self._ran = is_running(self.tools.hypervisor, self.work.uuid)
        if not self._ran:
            super().load()

    def plan(self) -> Plan:
        work = self.work
        return [
            (CheckGuestBack(work),),
            (PowerOff(work, gracefully=False),),
            () if self._ran else self._plug(),
            (PutGuestBack(work),),
            (StartGuest(work, pause_for_ports=False),),
            (RemoveRescueFiles(work),),
            (ReportPower(work, VmState.ACTIVE, [TaskState.UNRESCUING]),),
        ]

    def _plug(self) -> Stage:
        """What the definition that was kept asks for, be it of ports that were deleted since."""
        work = self.work
        plug = PlugInterfaces(work, keep_strays=True)
        return (plug, CheckVolumes(work), *to_mount(work))

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail(addresses=True)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState:
        return VmState.ERROR
