"""rescue_instance: boot a rescue system, with the server's own disks attached to it.

Resume rule: forward. Roll back: remove the rescue system and its files, restore the guest's
definition and start it again if it ran. The images are fetched while the guest still runs; a
failure there leaves the server as it was. After a power failure the password for a config drive is
lost, and the rescue fails.

A server that is found in task state RESCUING without a journal is unrescued
(``operations/unrescue.py``).
"""

from __future__ import annotations

from dataclasses import replace

from nova_lite.errors import NotRescuable
from nova_lite.failures import Failure
from nova_lite.model.states import PowerState, VmState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.notified import EXISTS, MILESTONE
from nova_lite.operations.power import PowerOperation
from nova_lite.services.notes import RescueNotes
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.guest.domain import CheckGuest
from nova_lite.steps.guest.rescue import (
    DefineRescueGuest,
    FetchRescueImages,
    KeepGuest,
    MakeRescueConfigDrive,
    MakeRescueDisks,
    PowerOffForRescue,
    ReportRescued,
    StartRescueGuest,
)
from nova_lite.steps.network.ports import RefreshPorts
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import CheckVolumes


class Rescue(PowerOperation):
    event = "compute_rescue_instance"
    requires = {"rescue_password": object, "rescue_image_ref": object}
    notifies = "rescue"
    milestone = StartRescueGuest  # from here on the server uses another image
    pool = "builds"

    def plan(self) -> Plan:
        work = self.work
        return [
            (CheckGuest(work),),
            (FetchRescueImages(work), RefreshPorts(work)),
            (PowerOffForRescue(work, gracefully=bool(work.arguments.get("clean_shutdown", True))),),
            (KeepGuest(work),),
            (MakeRescueDisks(work), CheckVolumes(work), *to_mount(work)),
            (DefineRescueGuest(work),),
            (MakeRescueConfigDrive(work),),
            (StartRescueGuest(work),),
            (ReportRescued(work),),
            NoWayBack("its record says that it is rescued", self.succeeded),
        ]

    def succeeded(self) -> bool:
        return ReportRescued(self.work).done()

    def notifications(self, phase: str) -> list[str]:
        return [EXISTS] if phase == MILESTONE else super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        image = {"rescue_image_ref": self.work.arguments.get("rescue_image_ref")}
        more = {"rescue_image_name": self.image_name("rescue_image_ref", subject)}
        return Detail("InstanceActionRescue", image, more, addresses=True)

    def failed(self, failure: Failure) -> None:
        reason = f"The instance cannot be rescued: {failure.message}"
        super().failed(replace(failure, nova_name=NotRescuable.nova_name, message=reason, code=400))

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        """A server whose guest was not powered off yet keeps its vm_state."""
        return None if RescueNotes.of(self.work.notes).ran is None else VmState.ERROR
