"""The step that copies a root disk by a snapshot of the storage, such as Ceph RBD.

Where Glance uses the same storage and accepts locations, the image is made there and no data passes
through this host. Otherwise the snapshot is copied into a file, which is uploaded.
"""

from __future__ import annotations

import logging
from typing import cast

from nova_lite.drivers.disk.base import SnapshotBackend
from nova_lite.errors import DiskError, ImageNotFound, NovaLiteError
from nova_lite.services import quiesce
from nova_lite.services.disk_copy import copy_path, new_copy, remove_copy
from nova_lite.services.disk_files import ROOT, directory
from nova_lite.services.notes import SnapshotNotes
from nova_lite.services.work import Work
from nova_lite.steps.disk.snapshot import ExtractDisk, States

LOG = logging.getLogger(__name__)


def extract_disk(work: Work, image_id: str, states: States) -> ExtractDisk:
    """The step that takes a copy of the root disk, for the kind of disks that this host has."""
    if isinstance(work.tools.disks, SnapshotBackend):
        return SnapshotDisk(work, image_id, states)
    return ExtractDisk(work, image_id, states)


class SnapshotDisk(ExtractDisk):
    """Make an image of the root disk in the shared storage, or a file.

    After a restart everything but a complete image is made again.
    """

    def __init__(self, work: Work, image_id: str, states: States) -> None:
        super().__init__(work, image_id, states)
        self._label = image_id.replace("-", "")
        self._disks = cast(SnapshotBackend, work.tools.disks)
        self._where = directory(work)

    def do(self) -> None:
        self._quiesce = quiesce.wanted(self.work)
        self._began, self._shown = self.tools.clock.monotonic(), False
        self._go_on()
        self._end_cut_off_attempt()
        with quiesce.quiet(self.work, self._quiesce):
            self._disks.take(self._where, ROOT, self._label)
        try:
            if not self._shared():
                self._copied()
        finally:
            self._drop()

    def undo(self) -> None:
        self._end_cut_off_attempt()
        forget_copy(self.work, self._image_id)

    def _drop(self) -> None:
        self._disks.drop(self._where, ROOT, self._label)

    def _shared(self) -> bool:
        """Make the image in the storage that Glance uses; False where that is not possible."""
        if self.tools.conf.libvirt.snapshot_image_format not in (None, "raw"):
            return False
        location = self._disks.image_location(
            self._where, ROOT, self._image_id, self._source_locations()
        )
        if location is None:
            return False
        self.work.note(snapshot={"location": location, "format": "raw"})
        return self._disks.share(self._where, ROOT, self._label, location)

    def _source_locations(self) -> tuple[str, ...]:
        """Locations of the image that the server was booted from; none if it was deleted."""
        image_id = self.work.instance.get("image_ref")
        try:
            return tuple(self.tools.images.show(self.work.context, image_id).locations)
        except NovaLiteError as error:
            LOG.info("Image %s of server %s: %s", image_id, self.work.uuid, error)
            return ()

    def _copied(self) -> None:
        image_format = self.tools.conf.libvirt.snapshot_image_format or "raw"
        target = copy_path(self.work, image_format)
        self.work.note(snapshot={"path": str(target), "format": image_format})
        with new_copy(target) as part:
            self._disks.extract(
                self._where,
                ROOT,
                self._label,
                part,
                image_format,
                compress=self._compresses(image_format),
                go_on=self._go_on,
            )


def forget_copy(work: Work, image_id: str) -> None:
    """Remove the copy, and the RBD image shared with Glance unless an active image uses it."""
    noted = SnapshotNotes.of(work.notes).snapshot or {}
    location = noted.get("location") or noted.get("refused")
    if location:
        try:
            used = work.tools.image_store.status(work.context, image_id) == "active"
        except ImageNotFound:
            used = False
        except NovaLiteError as error:
            LOG.error("%s may be left behind in the image service's storage: %s", location, error)
            return
        if not used or "refused" in noted:
            try:
                cast(SnapshotBackend, work.tools.disks).unshare(location)
            except DiskError as error:
                LOG.error("%s is left behind: %s", location, error)
    remove_copy(work)
