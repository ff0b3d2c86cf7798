"""The local-disk contract: root, ephemeral and swap disks of a server on this host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LocalDisk:
    """One local disk. ``name`` is 'disk', 'disk.eph0', 'disk.swap', 'disk.config', 'kernel' ...

    ``size_bytes`` is the virtual size (0: as large as the image). ``base`` is the cached image file
    it starts from, already in a format the backend accepts; without one the disk starts empty, with
    ``fs`` (a mkfs name such as ext4, vfat, swap) made on it when given.
    """

    name: str
    size_bytes: int
    base: Path | None = None
    fs: str | None = None
    label: str | None = None


class DiskBackend(ABC):
    """Makes local disks below ``instances_path/<uuid>``.

    May raise DiskFull (names path, needed and free bytes), FlavorDiskTooSmall and DiskError.
    """

    format: str  # format the guest definition names: qcow2 or raw

    @abstractmethod
    def check(self, disk: LocalDisk) -> None:
        """Raise what ``create`` would raise of its image, such as FlavorDiskTooSmall."""

    @abstractmethod
    def create(self, directory: Path, disk: LocalDisk) -> Path:
        """Make the disk whole or not at all (renamed into place); an existing one is left as is."""

    @abstractmethod
    def exists(self, directory: Path, name: str) -> bool:
        """Whether the disk is there, complete."""

    @abstractmethod
    def path(self, directory: Path, name: str) -> Path:
        """Where the disk is or will be."""

    @abstractmethod
    def remove(self, directory: Path, name: str) -> None:
        """Remove the disk; nothing to remove is success."""
