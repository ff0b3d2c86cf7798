"""attach_volume: attach a volume, which Cinder has reserved, to a server.

Resume rule: forward. Roll back: detach the disk from the guest, disconnect the host, delete the
Cinder attachment and the block device mapping. A volume that the guest or the host cannot release
stays attached and mapped, so that it can be detached later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import InvalidVolume, Verdict, VolumeNotAttached
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.services.volumes import attachment_of
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.volume.attachments import CompleteAttachment, ConnectVolume, PlugDisk
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class AttachVolume(Operation):
    event = "compute_attach_volume"
    requires = {"bdm": WireObject}
    notifies = "volume_attach"
    last_resort = {}
    notifies_error = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._mapping = work.arguments["bdm"]
        self._volume_id = str(self._mapping["volume_id"])

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["bdm"]["volume_id"])

    def load(self) -> None:
        work = self.work
        if work.resumed:
            found = self.tools.block_devices.by_volume(work.context, work.uuid, self._volume_id)
            if found is None:
                raise VolumeNotAttached(
                    f"No volume Block Device Mapping with id {self._volume_id}."
                )
            self._mapping = found
        if self._mapping.get("tag") and (work.resumed or "flavor" not in work.instance):
            work.reload()

    def plan(self) -> Plan:
        work, mapping = self.work, self._mapping
        tagged: Plan = [(DescribeDevices(work),)] if mapping.get("tag") else []
        return [
            (ConnectVolume(work, mapping),),
            (PlugDisk(work, mapping),),
            *tagged,
            (CompleteAttachment(work, mapping),),
            COMPLETE,
        ]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        volume = {"volume_id": self._volume_id}
        return Detail("InstanceActionVolume", volume, volume)

    def failed(self, failure: Failure) -> None:
        tools, work, mapping = self.tools, self.work, self._mapping
        if ConnectVolume.name in work.left:
            LOG.error("Volume %s, whose attach has failed, could not be taken back from server %s: "
                      "it stays until it is detached", self._volume_id, work.uuid)  # fmt: skip
            self._complete()
        else:
            # Without a step that has begun, the reservation is still to be deleted.
            if mapping.get("attachment_id"):
                tools.cinder.delete_attachment(work.context, attachment_of(mapping))
            tools.block_devices.destroy(work.context, mapping)
        if failure.verdict != Verdict.GONE:
            self.tell(failure)

    def _complete(self) -> None:
        try:
            self.tools.cinder.complete_attachment(
                self.work.context, attachment_of(self._mapping)
            )
        except InvalidVolume as error:
            LOG.error("Cinder does not show that: %s", error)
