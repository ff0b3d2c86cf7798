"""A server's root disk as one flat file in [libvirt]snapshots_directory, until it is uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from nova_lite.drivers.disk import durable, space
from nova_lite.drivers.disk.base import SnapshotBackend
from nova_lite.services.notes import SnapshotNotes
from nova_lite.services.work import Work


def copy_shared(work: Work) -> None:
    """Copy an image from the shared storage to a file, if Glance does not accept its location."""
    disks = cast(SnapshotBackend, work.tools.disks)
    location = (SnapshotNotes.of(work.notes).snapshot or {})["location"]
    target = copy_path(work, "raw")
    with new_copy(target) as part:
        disks.extract_shared(location, part)
    work.note(snapshot={"path": str(target), "format": "raw", "refused": location})
    disks.unshare(location)


def copy_path(work: Work, image_format: str) -> Path:
    """Where the copied disk is kept until it is uploaded."""
    return Path(work.tools.conf.libvirt.snapshots_directory) / f"{work.uuid}.{image_format}"


@contextmanager
def new_copy(target: Path) -> Iterator[Path]:
    """A file to copy a disk into, which is renamed to ``target`` when it is complete."""
    with space.reported(target):
        durable.make_directory(target.parent)
        with durable.made_whole(target, 0o600) as part:
            yield part


def remove_copy(work: Work) -> None:
    """Remove the copied disk, and what an unfinished copy left."""
    noted = SnapshotNotes.of(work.notes).snapshot
    if not noted or "path" not in noted:
        return
    target = Path(noted["path"])
    part = durable.part_name(target)
    with space.reported(target):
        for path in (target, part, part.with_name(f"{part.name}.copy{durable.PART}")):
            path.unlink(missing_ok=True)
        if target.parent.exists():
            durable.sync(target.parent)  # nobody would look for it after a power failure
