"""The files of a server that go to another host, or to their new place on this one.

What is told of them (``disk_info``) has the form in which stock tells it; swap is made anew there.
An overlay needs the file that it is based on. The other host fetches the server's image; anything
else, and an image that is gone, goes along.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import backing, info, qemu_img
from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.errors import DiskError, ImageNotAuthorized, ImageNotFound, ResizeError
from nova_lite.guest.disks import PlannedDisk
from nova_lite.services import guest, moves
from nova_lite.services.disk_files import CONFIG_DRIVE, KERNEL, RAMDISK, directory
from nova_lite.services.kept_disks import kept_directory
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

SWAP = "disk.swap"
FORMATS = ("raw", "qcow2")
BLOCK = 512


@dataclass(frozen=True)
class MovedFile:
    """A file of this host, and where it is to be, on this host or on another one."""

    path: Path
    target: Path

    @property
    def size(self) -> int:
        """Bytes that it takes here: holes do not travel."""
        return self.path.stat().st_blocks * BLOCK


def remote_of(work: Work) -> RemoteFiles:
    """The files of the host that gets the server."""
    record = moves.migration(work)
    address, name = str(record["dest_host"]), str(record["dest_compute"])
    return work.tools.remote_files(address, name)


def require_movable(work: Work) -> None:
    """Refuse a server whose disks this host cannot give away.

    :raises ResizeError: a disk is missing, or of a format that nobody has recorded
    """
    disks, where = work.tools.disks, directory(work)
    for disk in _local(work):
        name = str(disk.name)
        if not disks.exists(where, name):
            raise ResizeError(f"the disk {where / name} is not on host {work.tools.host}")
        found = disks.source(where, name).format
        if found not in FORMATS:
            raise ResizeError(
                f"{where / info.NAME} on host {work.tools.host} says that {name} is of format "
                f"{found}; {' and '.join(FORMATS)} can be moved"
            )


def described(work: Work) -> list[dict[str, Any]]:
    """The kept disks, as the other host wants to be told of them; none where they are shared.

    As ``_get_instance_disk_info_from_config`` of stock's libvirt driver makes it.
    """
    if work.tools.disks.shared:
        return []
    kept = kept_directory(work)
    return [_described(work, str(disk.name), kept) for disk in _local(work, swap=True)]


def described_in_use(work: Work, names: Iterable[str]) -> list[dict[str, Any]]:
    """The same of disks that a guest has open."""
    return [_described(work, name, directory(work)) for name in names]


def _described(work: Work, name: str, where: Path) -> dict[str, Any]:
    home, path = directory(work) / name, where / name
    kind, base = _format(work, name, where), ""
    if kind == "qcow2":
        found = qemu_img.info(path)
        virtual, real = int(found["virtual-size"]), int(found["actual-size"])
        base = os.path.basename(found.get("backing-filename") or "")
    else:
        stat = path.stat()
        virtual, real = stat.st_size, stat.st_blocks * BLOCK
    return {
        "type": kind,
        "path": str(home),
        "virt_disk_size": virtual,
        "backing_file": base,
        "disk_size": real,
        "over_committed_disk_size": max(0, virtual - real) if kind == "qcow2" else virtual - real,
    }


def files(work: Work) -> list[MovedFile]:
    """The kept files that go to the new place, the record of their formats first."""
    home, kept = directory(work), kept_directory(work)
    names = [info.NAME, KERNEL, RAMDISK, *(str(disk.name) for disk in _local(work))]
    return [MovedFile(kept / name, home / name) for name in names if (kept / name).exists()]


def beside(work: Work, kept: Iterable[Path]) -> list[MovedFile]:
    """Other files that are kept, at their places."""
    home = directory(work)
    return [MovedFile(path, home / path.relative_to(kept_directory(work))) for path in kept]


def bases(work: Work) -> list[MovedFile]:
    """The files that those are based on, as far as the other host cannot fetch them.

    :raises ResizeError: one is outside of instances_path
    """
    found = {file.target: file for file in _bases(work)}
    fetched = _fetched_there(work)
    return [file for file in reversed(found.values()) if file.target != fetched]


def _bases(work: Work) -> Iterator[MovedFile]:
    """Those of each disk, the one that it is based on first."""
    home, kept = directory(work), kept_directory(work)
    for disk in _local(work):
        if _format(work, str(disk.name)) != "qcow2":
            continue
        file: Path | None = kept / str(disk.name)
        while file is not None and (named := _backing_file(file)) is not None:
            target = home / named.name if named.parent in (home, kept) else named
            if Path(work.tools.conf.instances_path) not in target.parents:
                raise ResizeError(f"{file} is based on {named}, which is outside of instances_path")
            file = kept / named.name if target.parent == home else named
            yield MovedFile(file, target)


def _backing_file(path: Path) -> Path | None:
    try:
        return backing.backing_file(path)
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error


def _fetched_there(work: Work) -> Path | None:
    """The cached file that the other host can fetch as well: the server's image, if it is left."""
    images, image_id = work.tools.images, work.server.image.id
    if not image_id:
        return None
    try:
        images.show(work.context, image_id)
    except (ImageNotFound, ImageNotAuthorized) as error:
        LOG.info("The image of server %s goes to the other host with it: %s", work.uuid, error)
        return None
    return images.path(image_id)


def _local(work: Work, *, swap: bool = False) -> list[PlannedDisk]:
    """The disks that travel."""
    disks = work.tools.disks
    where, kept = directory(work), kept_directory(work)

    def counts(name: str) -> bool:
        if name == SWAP:
            return swap and (kept / name).exists()
        # A config drive that is lost is made again.
        return name != CONFIG_DRIVE or disks.exists(where, name) or (kept / name).exists()

    return [disk for disk in guest.disk_plan(work).local if counts(str(disk.name))]


def _format(work: Work, name: str, where: Path | None = None) -> str:
    """The format of a disk; that of a kept one has in the record the name that it had, and will
    have."""
    usual = "raw" if name == CONFIG_DRIVE else work.tools.disks.format
    return info.read(where or kept_directory(work)).get(str(directory(work) / name), usual)
