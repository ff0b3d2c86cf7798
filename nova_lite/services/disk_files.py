"""A server's files on this host: where they are, made and removed."""

from __future__ import annotations

import logging
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


def remove_tree(where: Path) -> None:
    """Remove a directory of a server, with everything below it; none is success.

    It is renamed first, so that a half-removed one is never taken for a server's. A power failure
    does not bring it back: by then the server may be another host's.

    :raises DiskError: it cannot be removed
    """
    doomed = removed_name(where)
    try:
        if where.exists() and not doomed.exists():
            where.rename(doomed)
        for path in (doomed, where):
            if path.exists():
                shutil.rmtree(path)
        if where.parent.exists():
            durable.sync(where.parent)
    except OSError as error:
        raise DiskError(
            f"cannot remove the files of a server in {where}: {error.strerror}"
        ) from error


def remove_rest(where: Path) -> None:
    """Remove what a removal of a directory has left that was cut off: it is nobody's. The directory
    itself is not touched.

    :raises DiskError: it cannot be removed
    """
    doomed = removed_name(where)
    try:
        if doomed.exists():
            shutil.rmtree(doomed)
            durable.sync(where.parent)
    except OSError as error:
        raise DiskError(
            f"cannot remove the files of a server in {doomed}: {error.strerror}"
        ) from error


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
