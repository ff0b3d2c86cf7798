"""Steps that turn a server's root disk into an image: copy it beside the guest, send it to Glance.

The copy is one flat file below [libvirt]snapshots_directory, named after the server. An operation
with these steps can be taken back, and calls :func:`discard_image` in ``failed``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nova_lite.drivers.disk import durable, info, qemu_img, space
from nova_lite.errors import (
    ControlPlaneUnavailable,
    DiskError,
    DomainNotFound,
    GuestNotRunning,
    HypervisorError,
    ImageNotAuthorized,
    ImageUnacceptable,
    ImageUnavailable,
    NovaLiteError,
)
from nova_lite.model.states import TaskState
from nova_lite.services import quiesce
from nova_lite.services.disk_copy import copy_path, copy_shared, new_copy, remove_copy
from nova_lite.services.disk_files import ROOT, directory
from nova_lite.services.image_leftovers import ImageLeftovers, discard
from nova_lite.services.notes import SnapshotNotes
from nova_lite.services.power_state import is_on, is_running
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)

# Seconds an image service that is away is waited for, once the copy is made, and between two tries.
UPLOAD_PATIENCE, UPLOAD_PAUSE = 120.0, 5.0
MIB = 1024**2
# Formats that QEMU can write beside a running guest; others are converted afterwards.
LIVE_FORMATS = ("raw", "qcow2")


@dataclass(frozen=True)
class States:
    """Task states of a snapshot: in which it may begin, while it extracts, and while it uploads.

    ``before`` contains None where an agent that restarted may have cleared the task state.
    """

    before: tuple[str | None, ...]
    extracting: str
    uploading: str


SNAPSHOT = States(
    (TaskState.IMAGE_SNAPSHOT_PENDING, TaskState.IMAGE_SNAPSHOT, None),
    TaskState.IMAGE_PENDING_UPLOAD,
    TaskState.IMAGE_UPLOADING,
)
BACKUP = States(
    (TaskState.IMAGE_BACKUP, None), TaskState.IMAGE_PENDING_UPLOAD, TaskState.IMAGE_UPLOADING
)
SHELVE = States(
    (TaskState.SHELVING, None),
    TaskState.SHELVING_IMAGE_PENDING_UPLOAD,
    TaskState.SHELVING_IMAGE_UPLOADING,
)


class ExtractDisk(Step):
    """Make a flat copy of the root disk: beside the guest when it runs, else from its file.

    With [workarounds]disable_libvirt_livesnapshot the guest is paused for the time of the copy.

    An interrupted copy is made again. The task state is saved only for copies that take longer than
    SHOWN_AFTER seconds.
    """

    name = "extract_disk"

    def __init__(self, work: Work, image_id: str, states: States) -> None:
        super().__init__(work)
        self._image_id = image_id
        self._states = states
        self._disk = directory(work) / ROOT
        self._began, self._shown, self._quiesce = 0.0, False, quiesce.NO

    def done(self) -> bool:
        """After a power failure: whether the image is complete, so that no copy is needed."""
        if not self.work.rebooted:
            return False
        return self.tools.image_store.status(self.work.context, self._image_id) == "active"

    def do(self) -> None:
        self._quiesce = quiesce.wanted(self.work)
        self._began, self._shown = self.tools.clock.monotonic(), False
        self._go_on()
        libvirt = self.tools.conf.libvirt
        source_format = info.read(self._disk.parent).get(str(self._disk), self.tools.disks.format)
        image_format = libvirt.snapshot_image_format or source_format
        target = copy_path(self.work, image_format)
        self.work.note(snapshot={"path": str(target), "format": image_format})
        self._end_cut_off_attempt()
        with new_copy(target) as part:
            if not self._copied_live(part, image_format):
                with self._held():
                    self._convert(self._disk, source_format, part, image_format)

    def undo(self) -> None:
        self._end_cut_off_attempt()
        remove_copy(self.work)

    def _go_on(self) -> None:
        """Called repeatedly during the copy; raises Interrupted if the operation is cancelled."""
        work, states = self.work, self._states
        if work.cancelled.is_set():
            raise Interrupted
        if self._shown:
            return
        if self.tools.clock.monotonic() - self._began < self.tools.pace.copy_shown_after:
            return
        self._shown = True
        try:
            self.tools.instances.save(
                work.context,
                work.instance,
                expected_task_state=[*states.before, states.extracting, states.uploading],
                task_state=states.extracting,
            )
        except ControlPlaneUnavailable as error:
            LOG.warning("Task state %s of server %s is not shown: %s",
                        states.extracting, work.uuid, error)  # fmt: skip

    def _end_cut_off_attempt(self) -> None:
        """Undo what an interrupted attempt did to the guest: mirror job, pause and freeze."""
        self._drop()
        self._resume_guest()
        quiesce.thaw(self.work)

    def _drop(self) -> None:
        self.tools.hypervisor.drop_mirror(self.work.uuid, self._disk)

    def _copied_live(self, target: Path, image_format: str) -> bool:
        """Copy beside the guest; False when there is none or it powered off meanwhile."""
        if self.tools.conf.workarounds.disable_libvirt_livesnapshot or not self._runs():
            return False
        compress = self._compresses(image_format)
        direct = image_format in LIVE_FORMATS and not compress
        copy = target if direct else target.with_name(f"{target.name}.copy{durable.PART}")
        copy_format = image_format if direct else "qcow2"
        copy.unlink(missing_ok=True)
        try:
            try:
                self._mirror(copy, copy_format)
            except (HypervisorError, DomainNotFound):
                if self._runs():
                    if space.free_bytes(target) < MIB:
                        raise space.full(target, 0) from None
                    raise
                LOG.info("Server %s powered off while its disk was copied; copying it at rest",
                         self.work.uuid)  # fmt: skip
                copy.unlink(missing_ok=True)
                return False
            if not direct:
                self._convert(copy, copy_format, target, image_format)
            return True
        finally:
            if not direct:
                copy.unlink(missing_ok=True)

    def _mirror(self, copy: Path, copy_format: str) -> None:
        hypervisor, uuid = self.tools.hypervisor, self.work.uuid
        try:
            hypervisor.mirror_disk(uuid, self._disk, copy, copy_format)
            while not hypervisor.mirror_ready(uuid, self._disk):
                self._go_on()
                self.tools.clock.wait(self.work.cancelled, self.tools.pace.copy_poll)
            with quiesce.quiet(self.work, self._quiesce):
                hypervisor.finish_mirror(uuid, self._disk)
        except BaseException:
            self._drop()
            raise

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Pause a running guest; QEMU flushes its disks before that."""
        if is_running(self.tools.hypervisor, self.work.uuid):
            self.work.note(held=True)
            self.tools.hypervisor.pause(self.work.uuid)
        try:
            yield
        finally:
            self._resume_guest()

    def _resume_guest(self) -> None:
        if SnapshotNotes.of(self.work.notes).held:
            try:
                self.tools.hypervisor.resume(self.work.uuid)
            except (GuestNotRunning, DomainNotFound):
                LOG.info("Server %s powered off while it was held", self.work.uuid)
            self.work.note(held=False)

    def _convert(self, source: Path, source_format: str, target: Path, image_format: str) -> None:
        if not source.exists():
            raise DiskError(f"Server {self.work.uuid} has no root disk at {source}")
        qemu_img.convert(
            source,
            target,
            source_format,
            image_format,
            compress=self._compresses(image_format),
            shared=source == self._disk and self._runs(),  # a guest that is held has it open
            go_on=self._go_on,
        )

    def _compresses(self, image_format: str) -> bool:
        return bool(self.tools.conf.libvirt.snapshot_compression and image_format == "qcow2")

    def _runs(self) -> bool:
        return is_on(self.tools.hypervisor, self.work.uuid)


class UploadImage(Step):
    """Send the copy to the image service and remove it here."""

    name = "upload_image"

    def __init__(self, work: Work, image_id: str, states: States) -> None:
        super().__init__(work)
        self._image_id = image_id
        self._states = states

    def done(self) -> bool:
        active = self.tools.image_store.status(self.work.context, self._image_id) == "active"
        if active:
            remove_copy(self.work)
        return active

    def do(self) -> None:
        work, states = self.work, self._states
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[*states.before, states.extracting, states.uploading],
            task_state=states.uploading,
        )
        clock = self.tools.clock
        gives_up = clock.monotonic() + UPLOAD_PATIENCE
        while True:
            try:
                self._upload()
                break
            except ImageUnavailable as error:
                if clock.monotonic() > gives_up:
                    raise
                LOG.warning("%s; trying again in %d s", error, UPLOAD_PAUSE)
                if clock.wait(work.cancelled, UPLOAD_PAUSE):
                    raise Interrupted from None
        remove_copy(work)

    @property
    def _copy(self) -> Mapping[str, str]:
        """What there is to upload, as the step before has noted it."""
        return SnapshotNotes.of(self.work.notes).snapshot or {}

    def _upload(self) -> None:
        if "location" in self._copy and self._told():
            return
        work, copy = self.work, self._copy
        metadata = work.instance.get("system_metadata", {})
        self.tools.image_store.upload(
            work.context,
            self._image_id,
            Path(copy["path"]),
            disk_format=copy["format"],
            container_format=metadata.get("image_container_format") or "bare",
            properties=image_properties(work),
            go_on=self._go_on,
        )

    def _told(self) -> bool:
        """Add the location to the image in Glance; False: Glance wants the data uploaded."""
        work = self.work
        try:
            self.tools.image_store.add_location(
                work.context,
                self._image_id,
                self._copy["location"],
                properties=image_properties(work),
                go_on=self._go_on,
            )
        except (ImageUnacceptable, ImageNotAuthorized) as error:
            LOG.warning("The snapshot of server %s is uploaded: %s", work.uuid, error)
            copy_shared(work)
            return False
        return True

    def _go_on(self) -> None:
        if self.work.cancelled.is_set():
            raise Interrupted


class EndSnapshot(Step):
    """Clear the task state: the image is active."""

    name = "end_snapshot"

    def __init__(self, work: Work, states: States) -> None:
        super().__init__(work)
        self._states = states

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[self._states.uploading, None],
            task_state=None,
        )


class RotateBackups(Step):
    """Delete the oldest backups of this kind of this server, so that ``keep`` are left.

    What cannot be deleted is logged: the new backup is there all the same.
    """

    name = "rotate_backups"

    def __init__(self, work: Work, kind: str, keep: int) -> None:
        super().__init__(work)
        self._kind = kind
        self._keep = keep

    def do(self) -> None:
        work, store = self.work, self.tools.image_store
        wanted = {
            "image_type": "backup",
            "backup_type": self._kind,
            "instance_uuid": work.uuid,
        }
        try:
            backups = store.find(work.context, wanted)
        except NovaLiteError as error:
            LOG.error("Old backups of server %s are not known: %s", work.uuid, error)
            return
        for image_id in reversed(backups[self._keep :]):
            try:
                store.delete(work.context, image_id)
                LOG.info("Deleted backup %s of server %s", image_id, work.uuid)
            except NovaLiteError as error:
                LOG.error("Old backup %s of server %s could not be deleted: %s",
                          image_id, work.uuid, error)  # fmt: skip


def image_properties(work: Work) -> dict[str, str]:
    """Image properties about the server, beside those that nova-api has set."""
    instance = work.instance
    properties = {
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": str(instance["project_id"]),
    }
    for name in ("kernel_id", "ramdisk_id", "os_type"):
        if instance.get(name):
            properties[name] = str(instance[name])
    return properties


def discard_image(work: Work, image_id: str) -> None:
    """Delete the image record that nova-api made for a snapshot, unless the image is active.

    A record that cannot be deleted now is deleted later (services/image_leftovers.py).
    """
    try:
        discard(work.tools.image_store, work.context, image_id)
    except NovaLiteError as error:
        LOG.warning("Image %s of a failed snapshot of server %s is to be deleted later: %s",
                    image_id, work.uuid, error)  # fmt: skip
        ImageLeftovers(work.tools).add(image_id)
