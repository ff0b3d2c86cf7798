"""A server's files on this host: where they are, made and removed."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import DiskError, ImageNotAuthorized, ImageNotFound, ImageUnacceptable
from nova_lite.model.states import VmState
from nova_lite.services.config_drive import write_config_drive
from nova_lite.services.image_origin import origin
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

ROOT, KERNEL, RAMDISK, CONFIG_DRIVE = "disk", "kernel", "ramdisk", "disk.config"

GIB = 1024**3


def directory(work: Work) -> Path:
    """Where the server's files are."""
    return Path(work.tools.conf.instances_path) / work.uuid


def fetch_images(work: Work) -> None:
    """Fetch image, kernel and ramdisk into the cache; files that are there are marked as used."""
    server, images, image = work.server, work.tools.images, work.root_image
    refuse_certificates(work)
    if image.id and origin(work, image) is None:
        images.fetch(work.context, image, root_bytes=server.flavor.root_gb * GIB)
        if is_overlay_of_snapshot(work):
            _fetch_original(work)
    for image_id in filter(None, (server.kernel_id, server.ramdisk_id)):
        images.fetch_as_is(work.context, image_id)


def is_overlay_of_snapshot(work: Work) -> bool:
    """Whether the root disk is first made as an overlay of a snapshot, which is not to stay."""
    return work.root_image.id != work.server.image.id and work.tools.disks.format == "qcow2"


def _fetch_original(work: Work) -> None:
    """Fetch the server's image, to base the disk on it instead of the snapshot.

    Where it cannot be had any more, the disk is made independent of both.
    """
    images, image_id = work.tools.images, str(work.server.image.id)
    if images.complete(image_id):
        return
    try:
        images.fetch(work.context, images.show(work.context, image_id))
    except (ImageNotFound, ImageNotAuthorized, ImageUnacceptable) as error:
        LOG.warning("The root disk of server %s is kept whole, without a base image: %s",
                    work.uuid, error)  # fmt: skip


def root_disk(work: Work, size_bytes: int) -> LocalDisk:
    """The root disk, as large as its image where ``size_bytes`` is 0; fetch the image first.

    A server that is unshelved, or comes from another cell, must not depend on its snapshot, which
    is deleted afterwards: its disk is based on the server's own image again, where it was, and that
    is in the cache.
    """
    image, images = work.root_image, work.tools.images
    cloned = origin(work, image)
    base = None if cloned else images.path(str(image.id))
    unshelved = work.instance.get("vm_state") == VmState.SHELVED_OFFLOADED
    own = str(work.server.image.id)
    rebased = is_overlay_of_snapshot(work) and images.complete(own)
    return LocalDisk(
        ROOT,
        size_bytes,
        base,
        origin=cloned,
        independent=unshelved or work.snapshot is not None,
        rebase_on=images.path(own) if rebased else None,
    )


def make_config_drive(work: Work, name: str) -> None:
    """Make the config drive as the disk ``name``."""
    where = directory(work)
    write_config_drive(work, where / name)
    work.tools.disks.take_in(where, name)


def remove_files(work: Work) -> None:
    """Remove the server's disks and everything below its directory, and nothing else."""
    work.tools.disks.remove_all(directory(work))
    remove_directory(work)


def remove_directory(work: Work) -> None:
    """Remove everything below the server's directory."""
    remove_tree(directory(work))


class Seen:
    """A directory that somebody looks at before it is removed: which one it is, not what it is
    called. Nothing else gets its identity as long as this is open.

    :param where: a link is no directory
    """

    def __init__(self, where: Path) -> None:
        self._where = where
        self._fd: int | None = None

    def __enter__(self) -> Seen:
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._where, flags)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_at(self, where: Path) -> bool:
        """Whether it is called ``where`` now."""
        try:
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), os.lstat(where))
        except FileNotFoundError:
            return False


def remove_tree(where: Path, seen: Seen | None = None) -> None:
    """Remove a directory of a server, with everything below it; none is success.

    It is renamed first, so that a half-removed one is never taken for a server's, and what is made
    under its name meanwhile stays. A power failure does not bring it back: by then the server may
    be another host's. No link is followed; one in its place is removed itself.

    :param seen: the directory as it was looked at: nothing that has taken its place is removed
    :raises DiskError: it cannot be removed, or is another one by now
    """
    remove_rest(where)
    doomed = removed_name(where)
    try:
        if seen is not None and not seen.is_at(where):
            if os.path.lexists(where):
                raise _replaced(where)
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(where, doomed)
        if seen is not None and os.path.lexists(doomed) and not seen.is_at(doomed):
            raise _replaced(_put_back(doomed, where))
        _remove(doomed)
        # Also what an earlier attempt has removed.
        if where.parent.exists():
            durable.sync(where.parent)
    except OSError as error:
        raise _not_removed(where, error) from error


def remove_rest(where: Path) -> None:
    """Remove what a removal of a directory has left that was cut off: it is nobody's. The directory
    itself is not touched.

    :raises DiskError: it cannot be removed
    """
    doomed = removed_name(where)
    try:
        if os.path.lexists(doomed):
            _remove(doomed)
            durable.sync(where.parent)
    except OSError as error:
        raise _not_removed(doomed, error) from error


def _remove(path: Path) -> None:
    while os.path.lexists(path):
        try:
            if path.is_symlink():
                LOG.warning("%s was a link to %s, which stays", path, os.readlink(path))
                path.unlink()
            else:
                shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another host that shares it is at it, too


def _put_back(doomed: Path, where: Path) -> Path:
    """Give what was renamed by mistake its name, or another one that nobody removes; which one."""
    names = (where.with_name(f"{where.name}_other{number or ''}") for number in itertools.count())
    free = next(path for path in itertools.chain([where], names) if not os.path.lexists(path))
    os.rename(doomed, free)
    return free


def _replaced(where: Path) -> DiskError:
    return DiskError(
        f"{where} is not removed: it is a link, or another directory than a moment before. See "
        "whose it is"
    )


def _not_removed(where: Path, error: OSError) -> DiskError:
    return DiskError(f"cannot remove the files of a server in {where}: {error.strerror or error}")


def removed_name(where: Path) -> Path:
    """What a directory is called while it is being removed."""
    return where.with_name(where.name + "_del")


def rename_tree(where: Path, new: Path) -> None:
    """Give a directory of a server another name, for good; one that has it already is success.

    :raises DiskError: it cannot be renamed
    """
    try:
        if where.exists():
            where.rename(new)
        if new.exists():
            durable.sync(new.parent)
    except OSError as error:
        raise DiskError(f"cannot rename {where} to {new}: {error.strerror}") from error
