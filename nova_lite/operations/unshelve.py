"""unshelve_instance: build an offloaded server on this host, from its snapshot.

Resume rule: forward, as a boot. Roll back: every step is undone, and the server is
SHELVED_OFFLOADED again, with a fault; the snapshot is deleted only after the server runs. If the
guest cannot be removed the server stays on this host, in ERROR: no other host must get it.
"""

from __future__ import annotations

import logging

from nova_lite.errors import (
    DomainNotFound,
    NovaLiteError,
    ServerBeingDeleted,
    ServerNotFound,
    UnexpectedTaskState,
)
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.base import HERE_OR_NOWHERE, Operation
from nova_lite.services.notes import BuildNotes
from nova_lite.services.ownership import Place, place
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.disk.files import FetchImages, MakeConfigDrive, MakeDisks
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.network.binding import BindPorts
from nova_lite.steps.network.ports import PlugInterfaces, WaitForPorts
from nova_lite.steps.records.capacity import ClaimResources
from nova_lite.steps.records.server import NOWHERE, ReportActive, is_active_here, reload_wanted
from nova_lite.steps.records.shelving import DeleteShelvedImage, TakeOffloaded, delete_image
from nova_lite.steps.volume.moves import AttachReservedVolumes

LOG = logging.getLogger(__name__)


class Unshelve(Operation):
    event = "compute_unshelve_instance"
    places = HERE_OR_NOWHERE
    requires = {"filter_properties": dict}
    pool = "builds"
    notifies = "unshelve"
    notifies_mappings = True

    def load(self) -> None:
        work = self.work
        self.tools.events.watch(work.uuid)
        # The conductor has set it in the message, for us to save.
        zone = work.instance.get("availability_zone")
        reload_wanted(work)
        work.instance.set(availability_zone=zone)

    def plan(self) -> Plan:
        work, image = self.work, self._image()
        clean_up: Plan = [(DeleteShelvedImage(work, image),)] if image else []
        if work.rebooted and self.succeeded():
            return clean_up  # it is a server like any other whose host was off
        return [
            (ClaimResources(work),),
            (TakeOffloaded(work),),
            (FetchImages(work), BindPorts(work), AttachReservedVolumes(work)),
            (MakeDisks(work), PlugInterfaces(work)),
            (DefineGuest(work),),
            (MakeConfigDrive(work), DescribeDevices(work)),
            (StartGuest(work),),
            (WaitForPorts(work),),
            (ReportActive(work),),
            NoWayBack("its record says that it is active here", self.succeeded),
            *clean_up,
        ]

    def succeeded(self) -> bool:
        """What users see as active is not taken from them, whatever went wrong here."""
        return is_active_here(self.work)

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        try:
            work.reload()
            self._give_up(failure)
        except ServerNotFound:
            self._forget()
        except (UnexpectedTaskState, ServerBeingDeleted) as error:
            LOG.warning("Server %s is somebody else's by now: %s", work.uuid, error)
        tools.usage_changed()

    def _give_up(self, failure: Failure) -> None:
        """Save the server as SHELVED_OFFLOADED without a host again."""
        work, tools = self.work, self.tools
        where, task = place(work.instance, tools.host), work.instance.get("task_state")
        taken = BuildNotes.of(work.notes).taken
        if task == TaskState.DELETING:
            self._forget()
        elif where is Place.ELSEWHERE or (where is Place.ARRIVING and taken):
            return  # said already, or another host has it
        elif self._guest_is_left():
            self.tell(failure)
            tools.instances.save(
                work.context, work.instance, vm_state=VmState.ERROR, task_state=None
            )
        elif taken or failure.nova_name != UnexpectedTaskState.nova_name:
            self.tell(failure)
            tools.placement.delete_allocations(work.uuid)
            tools.instances.save(
                work.context,
                work.instance,
                expected_task_state=[task],
                vm_state=VmState.SHELVED_OFFLOADED,
                task_state=None,
                **NOWHERE,
            )

    def _guest_is_left(self) -> bool:
        """Whether the rollback left a guest, or the hypervisor cannot be asked."""
        try:
            self.tools.hypervisor.power_state(self.work.uuid)
        except DomainNotFound:
            return False
        except NovaLiteError:
            return True
        return True

    def _forget(self) -> None:
        """The server is being deleted: delete its allocations and its snapshot."""
        self.tools.placement.delete_allocations(self.work.uuid)
        if image := self._image():
            delete_image(self.work, image)

    def _image(self) -> str | None:
        """The snapshot's id; a server that boots from a volume has none."""
        image = self.work.arguments.get("image")
        return str(image["id"]) if image else None
