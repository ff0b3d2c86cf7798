"""snapshot_instance and backup_instance: upload a copy of the root disk as an image.

nova-api has created the queued image record. Resume rule: forward; an interrupted copy is made
again, an upload uses the copy that is there. Roll back: the copy and the image record are deleted
and the task state is cleared.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import (
    ImageNotFound,
    ServerBeingDeleted,
    ServerNotFound,
    UnexpectedTaskState,
    Verdict,
)
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.disk.direct_snapshot import extract_disk
from nova_lite.steps.disk.snapshot import (
    BACKUP,
    SNAPSHOT,
    EndSnapshot,
    RotateBackups,
    States,
    UploadImage,
    discard_image,
)

LOG = logging.getLogger(__name__)


class Snapshot(Operation):
    event = "compute_snapshot_instance"
    requires = {"image_id": str}
    pool = "snapshots"
    notifies = "snapshot"
    after_restart = dict.fromkeys(
        (
            TaskState.IMAGE_SNAPSHOT_PENDING,
            TaskState.IMAGE_SNAPSHOT,
            TaskState.IMAGE_PENDING_UPLOAD,
            TaskState.IMAGE_UPLOADING,
        ),
        AfterRestart(Settlement.CLEAR),
    )
    states: States = SNAPSHOT
    last_resort = {"task_state": None}

    def load(self) -> None:
        if self.work.resumed:
            self.work.reload()

    def plan(self) -> Plan:
        return [*self.making(), COMPLETE]

    def making(self) -> Plan:
        """The stages after which the image is there."""
        work, states = self.work, self.states
        return [
            (extract_disk(work, self._image_id, states),),
            (UploadImage(work, self._image_id, states),),
            (EndSnapshot(work, states),),
        ]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail("InstanceActionSnapshot", {"snapshot_image_id": self._image_id})

    def failed(self, failure: Failure) -> None:
        tools, work, states = self.tools, self.work, self.states
        discard_image(work, self._image_id)
        if failure.verdict == Verdict.GONE:
            return
        if failure.nova_name != ImageNotFound.nova_name:
            self.tell(failure)
        expected: list[Any] = [*states.before, states.extracting, states.uploading, None]
        try:
            tools.instances.save(
                work.context, work.instance, expected_task_state=expected, task_state=None
            )
        except (UnexpectedTaskState, ServerBeingDeleted, ServerNotFound) as error:
            LOG.info("Server %s is about something else by now: %s", work.uuid, error)

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["image_id"])

    @property
    def _image_id(self) -> str:
        return str(self.work.arguments["image_id"])


class Backup(Snapshot):
    event = "compute_backup_instance"
    requires = {"image_id": str, "backup_type": str, "rotation": int}
    after_restart = {TaskState.IMAGE_BACKUP: AfterRestart(Settlement.CLEAR)}
    states = BACKUP

    def making(self) -> Plan:
        arguments = self.work.arguments
        kind, keep = str(arguments["backup_type"]), int(arguments["rotation"])
        return [*super().making(), (RotateBackups(self.work, kind, keep),)]
