"""terminate_instance: remove a server from this host, Nova, Placement, Neutron and Cinder.

Resume rule: always forward; a delete is never rolled back. A step that fails leaves the server in
ERROR with a fault, so that the user can delete it again.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

from nova_lite.errors import ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.notifications.subject import Subject
from nova_lite.operations.base import HERE_OR_NOWHERE, Operation
from nova_lite.operations.notified import MILESTONE, START
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services import guest
from nova_lite.services.interfaces import remember_taps
from nova_lite.services.kept_disks import are_kept
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.devices import to_forget_key
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.move_back.confirm import DiscardKept
from nova_lite.steps.network.ports import ReleasePorts, UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources
from nova_lite.steps.records.server import ForgetServer, RecordDeleted
from nova_lite.steps.shares import to_release
from nova_lite.steps.volume.delete import ReleaseVolumes
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Delete(Operation):
    event = "compute_terminate_instance"
    # A server that moved on keeps its records, and what the other host has.
    places = HERE_OR_NOWHERE
    requires = {"bdms": object}
    notifies = "delete"
    notifies_mappings = True
    milestone = RemoveDisks  # the guest's shutdown is over
    urgent = True
    # connection_info may contain secrets; it is reloaded from the database.
    secrets = ("bdms",)
    after_restart = {
        TaskState.DELETING: AfterRestart(Settlement.REDO, with_mappings=True, in_error=True)
    }

    def load(self) -> None:
        self.tools.events.forget(self.work.uuid)
        if "flavor" not in self.work.instance or not guest.vifs(self.work):
            # A forced delete comes with less, and the API may have read the server before its boot
            # recorded the ports.
            with contextlib.suppress(ServerNotFound):
                self.work.reload()
        remember_taps(self.work)
        self.work.mappings = self._mappings()

    def _mappings(self) -> list[WireObject]:
        """The block device mappings that nova-api sent, or those of the database.

        The latter, with deleted rows, where they were sent incomplete or the operation is resumed:
        nova-api may have deleted them while this host was down.
        """
        sent = self.work.arguments.get("bdms")
        if sent is not None and all(map(_complete, sent.objects())):
            return list(sent.objects())
        everything = self.work.context.elevated(read_deleted=True)
        return self.tools.block_devices.of_server(everything, self.work.uuid)

    def plan(self) -> Plan:
        work = self.work
        return [
            (RemoveGuest(work), ReleasePorts(work)),
            (
                UnplugInterfaces(work),
                RemoveDisks(work),
                ReleaseVolumes(work),
                *to_release(work),
                *to_forget_key(work),
            ),
            *self._kept(),
            (RecordDeleted(work),),
            (ReleaseResources(work),),
            (ForgetServer(work),),
        ]

    def _kept(self) -> Plan:
        """nova-api confirms a resize before it deletes the server; not one that has failed, or that
        is going on."""
        return [(DiscardKept(self.work),)] if are_kept(self.work) else []

    def notifications(self, phase: str) -> list[str]:
        """Every delete shuts the guest down, and says so."""
        if phase == START:
            return ["delete.start", "shutdown.start"]
        return ["shutdown.end"] if phase == MILESTONE else super().notifications(phase)

    def notification_subject(self, phase: str, subject: Subject) -> Subject:
        """Its ports are gone with the guest."""
        return subject if phase == START else replace(subject, vifs=())

    def failed(self, failure: Failure) -> None:
        if failure.verdict == Verdict.GONE:
            return
        self.tell(failure)
        self.save_failed(vm_state=VmState.ERROR, task_state=None)


def _complete(mapping: WireObject) -> bool:
    """Whether the mapping has the volume's id and connection_info; local disks need none."""
    if mapping["destination_type"] != "volume" or mapping.get("no_device"):
        return True
    return bool(mapping.get("volume_id") and mapping.get("connection_info"))
