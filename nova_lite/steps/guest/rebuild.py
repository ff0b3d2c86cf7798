"""Steps of a rebuild that no other operation has."""

from __future__ import annotations

from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import guest, interfaces
from nova_lite.services.disk_files import GIB, root_disk
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.disk.files import FetchImages, RemoveDisks
from nova_lite.steps.records.server import tell_host
from nova_lite.wire.decode import utcnow

# The task states of a rebuild, one after the other; the first one is the API's.
STAGES = (
    TaskState.REBUILDING,
    TaskState.REBUILD_BLOCK_DEVICE_MAPPING,
    TaskState.REBUILD_SPAWNING,
)


class FetchNewImages(FetchImages):
    """Fetch the images, and find out that they fit before anything of the server is given up."""

    def do(self) -> None:
        server = self.work.server
        guest.validate(self.work)
        super().do()
        if server.image.id:
            self.tools.disks.check(root_disk(self.work, server.flavor.root_gb * GIB))


class MarkRebuilding(Step):
    """Show how far the rebuild is, if the server is still where it was.

    A compare-and-swap: a server that was evacuated or deleted meanwhile is left alone. After a
    restart it may have been further already: what a power failure has taken from the journal is
    done again.
    """

    def __init__(self, work: Work, before: TaskState, task_state: TaskState) -> None:
        super().__init__(work)
        self.name = f"mark_{task_state}"
        self._before, self._task_state = before, task_state

    def do(self) -> None:
        expected = STAGES if self.work.resumed else (self._before, self._task_state)
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=expected,
            task_state=self._task_state,
        )


class RemoveOldDisks(RemoveDisks):
    """Remove the server's directory; from here on there is only forward."""

    def do(self) -> None:
        self.work.note(emptied=True)
        super().do()


class ReplugInterfaces(Step):
    """Make the host side of the ports anew: the new image may want another number of queues."""

    name = "replug_interfaces"

    def do(self) -> None:
        interfaces.unplug(self.work)
        interfaces.plug(self.work)


class ReportRebuilt(Step):
    """The server is as new: tell its user."""

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
        system_metadata.update(self.work.notes.get("registered", {}))
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
