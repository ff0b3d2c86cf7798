"""shelve_instance: a server is powered off and its disk kept in the image service.

With [DEFAULT]shelved_offload_time = 0 it leaves its host at once, as shelve_offload_instance does
it; else it stays, SHELVED, until it is unshelved, offloaded, or was shelved for that long.

Resume rule: forward. A failure before the server is SHELVED takes the snapshot back and leaves the
server off, on its host; one afterwards leaves it SHELVED, to be offloaded again.
"""

from __future__ import annotations

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.model.states import POWERED_OFF, PowerState, VmState
from nova_lite.operations.base import HERE_OR_NOWHERE
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.shelve_offload import leaving
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.direct_snapshot import extract_disk
from nova_lite.steps.disk.snapshot import SHELVE, UploadImage, discard_image
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.records.shelving import RecordShelved, delete_image, shelved_as


class Shelve(PowerOperation):
    event = "compute_shelve_instance"
    places = HERE_OR_NOWHERE  # it ends without a host
    requires = ("image_id",)
    pool = "snapshots"
    undoes = True
    notifies = "shelve"
    needs = ("flavor", "info_cache", "system_metadata")

    def load(self) -> None:
        super().load()
        work = self.work
        remember_ports(work)
        if "offload" not in work.notes:
            work.note(offload=self.tools.conf.shelved_offload_time == 0)

    def plan(self) -> Plan:
        work, image = self.work, str(self.work.arguments["image_id"])
        offload = bool(work.notes["offload"])
        return [
            (PowerOff(work, gracefully=bool(work.arguments.get("clean_shutdown", True))),),
            (extract_disk(work, image, SHELVE),),
            (UploadImage(work, image, SHELVE),),
            (RecordShelved(work, image, offload=offload),),
            *(leaving(work) if offload else ()),
        ]

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
        """Delete the snapshot: at once when it is whole, else as soon as that is possible."""
        discard_image(self.work, image)
        delete_image(self.work, image)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        running = self.work.instance.get("vm_state") == VmState.ACTIVE
        return VmState.STOPPED if running and power in POWERED_OFF else None
