"""shelve_instance: power a server off and upload its root disk as a snapshot.

With [DEFAULT]shelved_offload_time = 0 it is offloaded from its host at once; otherwise it stays
SHELVED until it is unshelved or offloaded, or that time is over.

Resume rule: forward. A failure before the server is SHELVED deletes the snapshot and leaves the
server off, on its host; a later one leaves it SHELVED, to be offloaded again.
"""

from __future__ import annotations

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.model.states import POWERED_OFF, PowerState, TaskState, VmState
from nova_lite.operations.base import HERE_OR_NOWHERE
from nova_lite.operations.notified import END, EXISTS, MILESTONE, START
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.operations.shelve_offload import has_left, leaving
from nova_lite.services.notes import ShelveNotes
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.disk.direct_snapshot import extract_disk
from nova_lite.steps.disk.snapshot import SHELVE, UploadImage, discard_image
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.records.shelving import RecordShelved, delete_image, shelved_as


class Shelve(PowerOperation):
    event = "compute_shelve_instance"
    places = HERE_OR_NOWHERE  # it ends without a host
    requires = {"image_id": str}
    pool = "snapshots"
    notifies = "shelve"
    notifies_mappings = True
    milestone = RecordShelved  # the server may go on to leave its host
    needs = ("flavor", "info_cache", "system_metadata")
    after_restart = dict.fromkeys(
        (
            TaskState.SHELVING,
            TaskState.SHELVING_IMAGE_PENDING_UPLOAD,
            TaskState.SHELVING_IMAGE_UPLOADING,
        ),
        AfterRestart(Settlement.CLEAR),
    )

    def load(self) -> None:
        super().load()
        work = self.work
        remember_ports(work)
        if ShelveNotes.of(work.notes).offload is None:
            work.note(offload=self.tools.conf.shelved_offload_time == 0)

    def plan(self) -> Plan:
        work, image = self.work, str(self.work.arguments["image_id"])
        offload = bool(ShelveNotes.of(work.notes).offload)
        if work.resumed and offload and has_left(work):
            return leaving(work)
        record = RecordShelved(work, image, offload=offload)
        return [
            (PowerOff(work, gracefully=bool(work.arguments.get("clean_shutdown", True))),),
            (extract_disk(work, image, SHELVE),),
            (UploadImage(work, image, SHELVE),),
            (record,),
            NoWayBack("its record says that it is shelved", record.done),
            *(leaving(work) if offload else ()),
        ]

    def notifications(self, phase: str) -> list[str]:
        """The usage audit hears first; leaving the host at once is an action of its own."""
        offload = bool(ShelveNotes.of(self.work.notes).offload)
        if phase == START:
            return [EXISTS, "shelve.start"]
        if phase == MILESTONE:
            return ["shelve.end", "shelve_offload.start"] if offload else []
        return ["shelve_offload.end"] if phase == END and offload else super().notifications(phase)

    def failed(self, failure: Failure) -> None:
        work, image = self.work, str(self.work.arguments["image_id"])
        try:
            work.reload()
        except ServerNotFound:
            self._drop(image)
            return
        if not shelved_as(work, image):
            self._drop(image)
        super().failed(failure)

    def _drop(self, image: str) -> None:
        """Delete the snapshot: at once if it is active, else its record as soon as possible."""
        discard_image(self.work, image)
        delete_image(self.work, image)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        running = self.work.instance.get("vm_state") == VmState.ACTIVE
        return VmState.STOPPED if running and power in POWERED_OFF else None
