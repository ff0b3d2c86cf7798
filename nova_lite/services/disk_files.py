"""A server's files on this host: where they are, made and removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import DiskError
from nova_lite.model.states import VmState
from nova_lite.services.config_drive import write_config_drive
from nova_lite.services.image_origin import origin
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.work import Work

ROOT, KERNEL, RAMDISK, CONFIG_DRIVE = "disk", "kernel", "ramdisk", "disk.config"

GIB = 1024**3


def directory(work: Work) -> Path:
    """Where the server's files are."""
    return Path(work.tools.conf.instances_path) / work.uuid


def fetch_images(work: Work) -> None:
    """Fetch image, kernel and ramdisk into the cache; files that are there are marked as used."""
    server, images = work.server, work.tools.images
    refuse_certificates(work)
    if server.image.id and origin(work, server.image) is None:
        images.fetch(work.context, server.image, root_bytes=server.flavor.root_gb * GIB)
    for image_id in filter(None, (server.kernel_id, server.ramdisk_id)):
        images.fetch_as_is(work.context, image_id)


def root_disk(work: Work, size_bytes: int) -> LocalDisk:
    """The root disk, as large as its image where ``size_bytes`` is 0; fetch the image first.

    An unshelved server must not depend on its snapshot, which is deleted afterwards.
    """
    image = work.server.image
    cloned = origin(work, image)
    base = None if cloned else work.tools.images.path(str(image.id))
    unshelved = work.instance.get("vm_state") == VmState.SHELVED_OFFLOADED
    return LocalDisk(ROOT, size_bytes, base, origin=cloned, independent=unshelved)


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
    """Remove everything below the server's directory.

    The directory is renamed first, so that a half-removed one is never taken for a server's. A
    power failure does not bring it back: by then the server may be another host's.
    """
    where = directory(work)
    doomed = where.with_name(where.name + "_del")
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
            f"cannot remove the files of server {work.uuid} in {where}: {error.strerror}"
        ) from error
