"""Steps that make and remove the server's files on this host."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import DiskError
from nova_lite.model.states import VmState
from nova_lite.steps import guest
from nova_lite.steps.base import Step, Work
from nova_lite.steps.config_drive import write_config_drive
from nova_lite.steps.origin import origin

LOG = logging.getLogger(__name__)

ROOT, KERNEL, RAMDISK, CONFIG_DRIVE = "disk", "kernel", "ramdisk", "disk.config"
GIB = 1024**3


def directory(work: Work) -> Path:
    """Where the server's files are."""
    return Path(work.tools.conf.instances_path) / work.uuid


class FetchImages(Step):
    """Bring the image, and kernel and ramdisk where there are any, into the cache."""

    name = "fetch_images"
    deadline = 3600.0

    def do(self) -> None:
        fetch_images(self.work)


def fetch_images(work: Work) -> None:
    """Have what the server starts from in the cache; what is there already is marked as used."""
    server, images = work.server, work.tools.images
    if server.image.id and origin(work, server.image) is None:
        images.fetch(work.context, server.image, root_bytes=server.flavor.root_gb * GIB)
    for image_id in filter(None, (server.kernel_id, server.ramdisk_id)):
        images.fetch_as_is(work.context, image_id)


class MakeDisks(Step):
    """Make root, ephemeral and swap disks; root starts from the cached image."""

    name = "make_disks"
    deadline = 1800.0

    def do(self) -> None:
        server, images = self.work.server, self.tools.images
        used = filter(None, (server.image.id, server.kernel_id, server.ramdisk_id))
        with images.held(*map(images.path, used)):
            fetch_images(self.work)  # the cache may have been cleaned since it was fetched
            self._make()

    def _make(self) -> None:
        server, tools, where = self.work.server, self.tools, directory(self.work)
        where.mkdir(parents=True, exist_ok=True)  # a console log is there without disks, too
        for disk in guest.disk_plan(self.work).local:
            if disk.name == CONFIG_DRIVE or disk.name is None:
                continue
            if disk.name == ROOT:
                tools.disks.create(where, root_disk(self.work, disk.size_bytes))
            else:
                empty = LocalDisk(disk.name, disk.size_bytes, fs=disk.fs, label=disk.label)
                tools.disks.create(where, empty)
        for name, image_id in ((KERNEL, server.kernel_id), (RAMDISK, server.ramdisk_id)):
            if image_id:
                tools.disks.create(where, LocalDisk(name, 0, tools.images.path(image_id)))

    def undo(self) -> None:
        remove_files(self.work)


class MakeConfigDrive(Step):
    """Make the config drive, if the server has one."""

    name = "make_config_drive"

    def done(self) -> bool:
        return self.tools.disks.exists(directory(self.work), CONFIG_DRIVE)

    def do(self) -> None:
        if guest.has_config_drive(self.work):
            make_config_drive(self.work, CONFIG_DRIVE)

    def undo(self) -> None:
        self.tools.disks.remove(directory(self.work), CONFIG_DRIVE)


def root_disk(work: Work, size_bytes: int) -> LocalDisk:
    """The root disk, as large as its image where ``size_bytes`` is 0; fetch the image first.

    A server that is unshelved must not need its snapshot any more: that is deleted.
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


class RemoveDisks(Step):
    """Remove the server's disks and its directory."""

    name = "remove_disks"
    deadline = 600.0

    def do(self) -> None:
        remove_files(self.work)


def remove_files(work: Work) -> None:
    """Remove the server's disks and everything below its directory, and nothing else.

    The directory is renamed first, so that a half-removed one is never taken for a server's.
    """
    where = directory(work)
    doomed = where.with_name(where.name + "_del")
    work.tools.disks.remove_all(where)
    try:
        if where.exists() and not doomed.exists():
            where.rename(doomed)
        for path in (doomed, where):
            if path.exists():
                shutil.rmtree(path)
    except OSError as error:
        raise DiskError(
            f"cannot remove the files of server {work.uuid} in {where}: {error.strerror}"
        ) from error
