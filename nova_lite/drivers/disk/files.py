"""What the file-based backends share: disks are files in the server's directory."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from pathlib import Path

from nova_lite.drivers.disk import durable, info, inspect, process, qemu_img, space
from nova_lite.drivers.disk.base import DiskBackend, LocalDisk
from nova_lite.errors import FlavorDiskTooSmall
from nova_lite.model.volume import VolumeSource

LOG = logging.getLogger(__name__)

# Direct kernel boot: opaque files for QEMU's command line, copied as they are by every backend.
BOOT_FILES = ("kernel", "ramdisk", "kernel.rescue", "ramdisk.rescue")
# Always a raw file, which is not on the record of formats.
CONFIG_DRIVE = "disk.config"
_COPY_S = 6 * 3600.0
_ALLOCATE_S = 3600.0


class FileBackend(DiskBackend):
    """Disks that are files named after themselves below ``instances_path/<uuid>``.

    A disk is made under a temporary name, synced, and renamed: one that exists is complete.
    """

    def __init__(self, preallocate: bool = False) -> None:
        """:param preallocate: reserve the full size at once ([DEFAULT]preallocate_images=space)"""
        self._preallocate = preallocate

    def check(self, disk: LocalDisk) -> None:
        if disk.base:
            look(disk, disk.base)

    def create(self, directory: Path, disk: LocalDisk) -> None:
        path = directory / disk.name
        if path.exists():
            return
        with space.reported(path, disk.size_bytes):
            durable.make_directory(directory)
            with durable.made_whole(path) as part:
                if disk.name in BOOT_FILES and disk.base:
                    info.record(path, "raw")
                    copy(disk.base, part)
                else:
                    info.record(path, self.format)
                    self._make(part, disk)
                    if self._preallocate and disk.size_bytes:
                        allocate(part, disk.size_bytes)

    def exists(self, directory: Path, name: str) -> bool:
        return (directory / name).exists()

    def grow(self, directory: Path, name: str, size_bytes: int) -> None:
        path = directory / name
        with space.reported(path, size_bytes):
            if self.source(directory, name).format == "raw":
                before = path.stat().st_size
                if before < size_bytes:
                    os.truncate(path, size_bytes)
            else:
                before = int(qemu_img.info(path)["virtual-size"])
                if before < size_bytes:
                    qemu_img.resize(path, size_bytes)
            if before < size_bytes:
                if self._preallocate:
                    allocate(path, size_bytes)
                durable.sync(path)

    def source(self, directory: Path, name: str) -> VolumeSource:
        path = str(directory / name)
        usual = "raw" if name.startswith(CONFIG_DRIVE) else self.format
        return VolumeSource(path, format=info.read(directory).get(path, usual))

    def take_in(self, directory: Path, name: str) -> None:
        """Nothing to do: it is a disk where it is."""

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in directory.glob("*"))

    def remove(self, directory: Path, name: str) -> None:
        path = directory / name
        with space.reported(path):
            path.unlink(missing_ok=True)
            durable.part_name(path).unlink(missing_ok=True)
            if directory.exists():
                info.forget(path)

    @abstractmethod
    def _make(self, part: Path, disk: LocalDisk) -> None:
        """Write the whole disk to ``part``, which does not exist yet."""


def look(disk: LocalDisk, path: Path) -> inspect.Base:
    """Look at the image a disk starts from; raises FlavorDiskTooSmall when it does not fit."""
    found = inspect.base(path)
    require_fit(disk, found.virtual_bytes)
    return found


def require_fit(disk: LocalDisk, image_bytes: int) -> None:
    """Raise FlavorDiskTooSmall when an image of this virtual size does not fit into a disk."""
    if disk.size_bytes and image_bytes > disk.size_bytes:
        raise FlavorDiskTooSmall(
            f"The image's virtual size is {image_bytes} bytes but the flavor's disk has "
            f"only {disk.size_bytes}: use a flavor with a larger root disk"
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file: shared blocks where the file system can (XFS, Btrfs), holes kept elsewhere."""
    process.run(
        "cp",
        "--reflink=auto",
        "--sparse=auto",
        "--",
        str(source),
        str(target),
        timeout_s=_COPY_S,
        packages={"cp": "coreutils"},
    )


def allocate(path: Path, size_bytes: int) -> None:
    """Reserve room for a disk without changing it; a file system that cannot is only warned of."""
    try:
        process.run("fallocate", "-n", "-l", str(size_bytes), str(path), timeout_s=_ALLOCATE_S)
    except process.ToolFailed as exc:
        if "not supported" not in exc.stderr:
            raise
        LOG.warning("preallocate_images: %s is on a file system without fallocate", path)
