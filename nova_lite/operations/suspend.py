"""suspend_instance and resume_instance: save the guest's memory to disk, and restore it.

The vm_state before the suspend is kept in system_metadata, as ``old_vm_state``.

Resume rule: forward. libvirt continues a save or restore when the agent is killed; the next process
waits for it, or starts it again when libvirt was killed, too.
"""

from __future__ import annotations

from nova_lite.errors import NovaLiteError
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.operations.power import PowerOperation, RunningGuestOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.domain import RestoreGuest, SaveGuest
from nova_lite.steps.network.ports import PlugInterfaces, RefreshPorts
from nova_lite.steps.records.server import ReportPower
from nova_lite.steps.volume.moves import CheckVolumes

OLD_VM_STATE = "old_vm_state"


class Suspend(RunningGuestOperation):
    event = "compute_suspend_instance"
    notifies = "suspend"
    after_restart = {TaskState.SUSPENDING: AfterRestart(Settlement.REDO)}

    def plan(self) -> Plan:
        work = self.work
        metadata = dict(work.instance["system_metadata"])
        if work.instance["vm_state"] != VmState.SUSPENDED:  # it is when only the end was cut off
            metadata[OLD_VM_STATE] = work.instance["vm_state"]
        report = ReportPower(
            work, VmState.SUSPENDED, [TaskState.SUSPENDING], system_metadata=metadata
        )
        return [(SaveGuest(work),), (report,)]


class Resume(PowerOperation):
    event = "compute_resume_instance"
    notifies = "resume"
    notifies_mappings = True
    after_restart = {TaskState.RESUMING: AfterRestart(Settlement.REDO)}

    def plan(self) -> Plan:
        work = self.work
        metadata = dict(work.instance["system_metadata"])
        after = VmState(metadata.pop(OLD_VM_STATE, VmState.ACTIVE))
        if work.instance["vm_state"] != VmState.SUSPENDED:
            after = VmState(work.instance["vm_state"])
        return [
            # The saved memory has an interface for each port that the server had.
            (RefreshPorts(work, keep_lost=True),),
            (PlugInterfaces(work, keep_strays=True), CheckVolumes(work, memory_saved=True)),
            (RestoreGuest(work),),
            (ReportPower(work, after, [TaskState.RESUMING], system_metadata=metadata),),
        ]

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        """With saved memory the vm_state stays, so that the user can try again."""
        if power == PowerState.RUNNING:
            return None
        try:
            return None if self.tools.hypervisor.saved(self.work.uuid) else VmState.ERROR
        except NovaLiteError:
            return VmState.ERROR
