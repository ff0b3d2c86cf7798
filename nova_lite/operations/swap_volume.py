"""swap_volume: move a running guest's volume to other storage, by a block copy.

Cinder asks for it when a volume in use is retyped or migrated to another backend; nova-api has
created the new volume's attachment. Resume rule: forward; QEMU continues the copy while no agent
runs, and the hypervisor reports its progress. Roll back, until the guest uses the new volume:
cancel the copy, disconnect the new volume, delete its attachment, and fail the migration in Cinder,
which deletes the new volume. Afterwards only forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.services.notes import VolumeNotes
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.volume.swap import (
    CompleteMigration,
    ConnectNewVolume,
    CopyVolume,
    RecordNewVolume,
    SwitchDisk,
    attachment_id,
    has_moved,
    new_id,
    old_id,
    tell_cinder,
)


class SwapVolume(Operation):
    event = "compute_swap_volume"
    requires = {"old_volume_id": object, "new_volume_id": object, "new_attachment_id": object}
    pool = "snapshots"  # what copies disks
    notifies = "volume_swap"
    notifies_error = True
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["old_volume_id"])

    def plan(self) -> Plan:
        work = self.work
        return [
            (ConnectNewVolume(work),),
            (CopyVolume(work),),
            (SwitchDisk(work),),
            NoWayBack("the guest uses the new volume", lambda: has_moved(work)),
            (RecordNewVolume(work),),
            (CompleteMigration(work),),
        ]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        volumes = {"old_volume_id": old_id(self.work), "new_volume_id": new_id(self.work)}
        return Detail("InstanceActionVolumeSwap", volumes)

    def failed(self, failure: Failure) -> None:
        work, cinder = self.work, self.tools.cinder
        if self.past_return:
            self._complete()
        else:
            tell_cinder(
                "keep the volume", lambda: cinder.roll_detaching(work.context, old_id(work))
            )
            tell_cinder(
                "delete the attachment of the new volume",
                lambda: cinder.delete_attachment(work.context, attachment_id(work)),
            )
            if VolumeNotes.of(work.notes).migrating:
                tell_cinder(
                    "end the migration",
                    lambda: cinder.migrate_volume_completion(
                        work.context, old_id(work), new_id(work), error=True
                    ),
                )
        if failure.verdict != Verdict.GONE:
            self.tell(failure)

    def _complete(self) -> None:
        """Make all records describe the new storage, although the server is being deleted or Cinder
        has refused: the guest uses it."""
        record, complete = RecordNewVolume(self.work), CompleteMigration(self.work)
        tell_cinder("go on with the other volume", record.do)
        tell_cinder("complete the migration", lambda: None if complete.done() else complete.do())
