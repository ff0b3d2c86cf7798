"""Steps that make and remove the server's files on this host."""

from __future__ import annotations

import logging

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.services import guest
from nova_lite.services.disk_files import (
    CONFIG_DRIVE,
    KERNEL,
    RAMDISK,
    ROOT,
    directory,
    fetch_images,
    make_config_drive,
    remove_files,
    root_disk,
)
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)


class FetchImages(Step):
    """Fetch the image, and its kernel and ramdisk if it has any, into the image cache."""

    name = "fetch_images"

    def do(self) -> None:
        fetch_images(self.work)


class MakeDisks(Step):
    """Make root, ephemeral and swap disks; root starts from the cached image."""

    name = "make_disks"

    def do(self) -> None:
        server, images = self.work.server, self.tools.images
        root = (self.work.root_image.id, server.image.id)
        used = set(filter(None, (*root, server.kernel_id, server.ramdisk_id)))
        with images.held(*map(images.path, used)):
            fetch_images(self.work)  # the cache may have been cleaned since it was fetched
            self._make()

    def make_directory(self) -> None:
        """Make the server's directory: a console log is there without disks, too."""
        durable.make_directory(directory(self.work))

    def _make(self) -> None:
        server, tools, where = self.work.server, self.tools, directory(self.work)
        self.make_directory()
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


class RestoreConfigDrive(Step):
    """Make the config drive anew where its file is missing, for else the guest does not start.

    The password and the files of the first boot are not on it: nobody has kept them.
    """

    name = "restore_config_drive"

    def do(self) -> None:
        work = self.work
        if not guest.has_config_drive(work):
            return
        if not self.tools.disks.exists(directory(work), CONFIG_DRIVE):
            LOG.warning("The config drive of server %s is gone; making it again, without the "
                        "password and the files of its first boot", work.uuid)  # fmt: skip
            make_config_drive(work, CONFIG_DRIVE)


class RemoveDisks(Step):
    """Remove the server's disks and its directory."""

    name = "remove_disks"

    def do(self) -> None:
        remove_files(self.work)
