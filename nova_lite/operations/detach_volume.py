"""detach_volume: detach the disk from the guest, disconnect the host, delete the attachment.

Resume rule: forward. A failure leaves the volume in use and mapped, so that it can be detached
again; steps that have succeeded are no obstacle to that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import NovaLiteError, VolumeNotAttached, VolumeServiceUnavailable
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.services.abandoned import is_abandoned
from nova_lite.services.notes import VolumeNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.devices import UntagDevice
from nova_lite.steps.volume.attachments import ForgetMapping, ReleaseVolume, UnplugDisk
from nova_lite.steps.volume.usage import ReadUsage, RecordUsage
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class DetachVolume(Operation):
    event = "compute_detach_volume"
    requires = {"volume_id": str, "attachment_id": object}
    notifies = "volume_detach"
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._volume_id = str(work.arguments["volume_id"])
        self._mapping: WireObject | None = None
        self._abandoned = False

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["volume_id"])

    def load(self) -> None:
        work = self.work
        self._mapping = self.tools.block_devices.by_volume(
            work.context, work.uuid, self._volume_id
        )
        if self._mapping is None and not VolumeNotes.of(work.notes).mapped:
            raise VolumeNotAttached(f"No volume Block Device Mapping with id {self._volume_id}.")
        work.note(mapped=True)
        if self._mapping is not None:
            self._abandoned = is_abandoned(self.tools.cinder, work.context, self._mapping)
        if self._mapping is not None and self._mapping.get("tag"):
            work.reload()

    def plan(self) -> Plan:
        work, mapping = self.work, self._mapping
        if mapping is None:
            return []  # forgetting it was the last step
        here = work.here
        if self._abandoned:
            return [(ForgetMapping(work, mapping),)]
        unplug: Plan = [(UnplugDisk(work, mapping),)] if here else []
        if here and self.tools.conf.volume_usage_poll_interval > 0:
            unplug = [(ReadUsage(work, mapping),), *unplug, (RecordUsage(work, mapping),)]
        untag: Plan = [(UntagDevice(work, self._volume_id),)] if mapping.get("tag") else []
        return [
            *unplug,
            (ReleaseVolume(work, mapping, here=here),),
            *untag,
            (ForgetMapping(work, mapping),),
        ]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        volume = {"volume_id": self._volume_id}
        return Detail("InstanceActionVolume", volume, volume)

    def failed(self, failure: Failure) -> None:
        tools, work = self.tools, self.work
        try:
            tools.cinder.roll_detaching(work.context, self._volume_id)
        except VolumeServiceUnavailable:
            raise
        except NovaLiteError as error:
            LOG.info("Volume %s was not told that it stays: %s", self._volume_id, error)
        self.tell(failure)
