"""swap_volume: a running guest's volume moves to other storage, by a block copy.

Cinder asks for it when a volume in use is retyped or migrated to another backend; nova-api has
reserved the new volume's attachment. Resume rule: forward; the copy belongs to QEMU, which goes on
with it while no agent runs, and the hypervisor says how far it is. Roll back, until the guest uses
the new volume: the copy is given up, the new volume disconnected, its attachment deleted, and
Cinder told, which removes the new volume. Afterwards there is only forward.
"""

from __future__ import annotations

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.swap import (
    CompleteMigration,
    ConnectNewVolume,
    CopyVolume,
    SwitchVolume,
    attachment_id,
    new_id,
    old_id,
    told,
)


class SwapVolume(Operation):
    event = "compute_swap_volume"
    requires = {"old_volume_id": object, "new_volume_id": object, "new_attachment_id": object}
    pool = "snapshots"  # what copies disks
    undoes = True
    notifies = "volume_swap"
    notifies_error = True

    def plan(self) -> Plan:
        work = self.work
        return [
            (ConnectNewVolume(work),),
            (CopyVolume(work),),
            (SwitchVolume(work),),
            (CompleteMigration(work),),
        ]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        volumes = {"old_volume_id": old_id(self.work), "new_volume_id": new_id(self.work)}
        return Detail("InstanceActionVolumeSwap", volumes)

    def failed(self, failure: Failure) -> None:
        work, cinder = self.work, self.tools.cinder
        if work.notes.get("moved"):
            self._complete()
        else:
            told("keep the volume", lambda: cinder.roll_detaching(work.context, old_id(work)))
            told(
                "delete the attachment of the new volume",
                lambda: cinder.delete_attachment(work.context, attachment_id(work)),
            )
            if work.notes.get("migrating"):
                told(
                    "end the migration",
                    lambda: cinder.migrate_volume_completion(
                        work.context, old_id(work), new_id(work), error=True
                    ),
                )
        if failure.verdict != Verdict.GONE:
            self.tools.actions.fault(work.context, work.uuid, failure)

    def _complete(self) -> None:
        """The server is being deleted, or Cinder has refused: all records are to lead to where the
        guest's data is."""
        switch, complete = SwitchVolume(self.work), CompleteMigration(self.work)
        told("go on with the other volume", switch.do)
        told("complete the migration", lambda: None if complete.done() else complete.do())
