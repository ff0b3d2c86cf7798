"""Steps that only a rebuild has."""

from __future__ import annotations

from nova_lite.model.states import REBUILDING_TASKS, PowerState, TaskState, VmState
from nova_lite.services import guest, interfaces
from nova_lite.services.definable import refuse_to_replace
from nova_lite.services.disk_files import GIB, root_disk
from nova_lite.services.notes import GuestNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.disk.files import FetchImages
from nova_lite.steps.network.binding import forget_lost
from nova_lite.steps.records.server import tell_host
from nova_lite.wire.decode import utcnow


class FetchNewImages(FetchImages):
    """Fetch the new images and check their size before anything of the server is deleted."""

    def do(self) -> None:
        server = self.work.server
        guest.validate(self.work)
        refuse_to_replace(self.tools.hypervisor, self.work.uuid)
        super().do()
        if server.image.id:
            self.tools.disks.check(root_disk(self.work, server.flavor.root_gb * GIB))


class MarkRebuilding(Step):
    """Save the next task state of the rebuild, if the server is still where it was.

    A compare-and-swap: a server that was evacuated or deleted meanwhile is left alone.
    """

    def __init__(self, work: Work, before: TaskState, task_state: TaskState) -> None:
        super().__init__(work)
        self.name = f"mark_{task_state}"
        self._before, self._task_state = before, task_state

    def done(self) -> bool:
        """Whether it is this far, or further."""
        self.work.reload()
        later = REBUILDING_TASKS[REBUILDING_TASKS.index(self._task_state) :]
        return self.work.instance.get("task_state") in later

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[self._before, self._task_state],
            task_state=self._task_state,
        )


class ReplugInterfaces(Step):
    """Unplug and plug the interfaces: the new image may want another number of queues."""

    name = "replug_interfaces"

    def do(self) -> None:
        interfaces.unplug(self.work)
        forget_lost(self.work)
        interfaces.plug(self.work)


class ReportRebuilt(Step):
    """Save the vm_state after the rebuild and clear the task state."""

    name = "report_rebuilt"

    def __init__(self, work: Work, vm_state: VmState) -> None:
        super().__init__(work)
        self._vm_state = vm_state

    def done(self) -> bool:
        self.work.reload()
        over = self.work.instance.get("task_state") is None
        if over:
            tell_host(self.work, self._vm_state)
        return over

    def do(self) -> None:
        system_metadata = dict(self.work.instance.get("system_metadata", {}))
        system_metadata.update(GuestNotes.of(self.work.notes).registered or {})
        runs = self._vm_state == VmState.ACTIVE
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[TaskState.REBUILD_SPAWNING],
            vm_state=self._vm_state,
            task_state=None,
            power_state=int(PowerState.RUNNING if runs else PowerState.SHUTDOWN),
            launched_at=utcnow(),
            config_drive="True" if guest.has_config_drive(self.work) else "",
            system_metadata=system_metadata,
        )
        tell_host(self.work, self._vm_state)
