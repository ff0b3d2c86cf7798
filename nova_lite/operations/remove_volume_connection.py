"""remove_volume_connection: this host lets go of a volume that the server keeps.

A live migration that failed asks for it on the host that the server did not get to, and
``nova-manage volume_attachment refresh`` before it makes a new attachment. Resume rule: forward.
"""

from __future__ import annotations

from typing import ClassVar

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import volumes
from nova_lite.steps.base import Plan, Step
from nova_lite.steps.volume import attachments


class RemoveConnection(Step):
    """Disconnect the volume, and delete its attachment where that is asked for."""

    name = "remove_connection"
    deadline = attachments.STORAGE_S

    def do(self) -> None:
        work, volume_id = self.work, str(self.work.arguments["volume_id"])
        mapping = self.tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            return
        if work.arguments.get("delete_attachment"):
            attachments.release(work, mapping)
        else:
            volumes.disconnect(work, mapping)


class RemoveVolumeConnection(Operation):
    event = None
    requires: ClassVar[tuple[str, ...]] = ("volume_id",)
    answers = True
    places = ANYWHERE

    def plan(self) -> Plan:
        return [(RemoveConnection(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The caller hears of it."""
