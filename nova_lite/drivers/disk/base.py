"""The local-disk contract: root, ephemeral and swap disks of a server on this host."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nova_lite.model.volume import VolumeSource


@dataclass(frozen=True)
class LocalDisk:
    """One local disk. ``name`` is 'disk', 'disk.eph0', 'disk.swap', 'disk.config', 'kernel' ...

    ``size_bytes`` is the virtual size (0: as large as the image). ``base`` is the cached image file
    it starts from, already in a format the backend accepts, or ``origin`` an image that the backend
    can clone (see :meth:`DiskBackend.origin`); without either the disk starts empty, with ``fs`` (a
    mkfs name such as ext4, vfat, swap) made on it when given. An ``independent`` disk does not need
    its image any more once it is made; as an overlay it may need the cached image ``rebase_on``
    instead.
    """

    name: str
    size_bytes: int
    base: Path | None = None
    fs: str | None = None
    label: str | None = None
    origin: str | None = None
    independent: bool = False
    rebase_on: Path | None = None


class DiskBackend(ABC):
    """Makes the local disks of the server whose directory is ``instances_path/<uuid>``.

    May raise DiskFull (names path, needed and free bytes), FlavorDiskTooSmall and DiskError.
    """

    format: str  # format the guest definition names: qcow2 or raw
    clones = False  # whether ``origin`` may find something
    shared = False  # whether other hosts reach the same disks, as they do in a cluster

    @abstractmethod
    def check(self, disk: LocalDisk) -> None:
        """Raise what ``create`` would raise of its image, such as FlavorDiskTooSmall."""

    @abstractmethod
    def create(self, directory: Path, disk: LocalDisk) -> None:
        """Make the disk whole or not at all; an existing one is left as is."""

    @abstractmethod
    def exists(self, directory: Path, name: str) -> bool:
        """Whether the disk is there, complete."""

    @abstractmethod
    def grow(self, directory: Path, name: str, size_bytes: int) -> None:
        """Make a disk that nobody has open at least as large as ``size_bytes``; what is larger
        stays as it is, and what is on the disk does, too."""

    @abstractmethod
    def source(self, directory: Path, name: str) -> VolumeSource:
        """What the guest's disk reads and writes; the disk need not be there yet."""

    @abstractmethod
    def take_in(self, directory: Path, name: str) -> None:
        """Make the raw file ``directory/name`` the disk of that name, in place of an older one."""

    @abstractmethod
    def remove(self, directory: Path, name: str) -> None:
        """Remove the disk; nothing to remove is success."""

    @abstractmethod
    def names(self, directory: Path) -> list[str]:
        """The server's disks that are there; names of its other files may be among them."""

    def remove_all(self, directory: Path) -> None:  # noqa: B027
        """Remove the server's disks as far as they are not files in ``directory``."""

    def shut_out(self, directory: Path) -> None:  # noqa: B027
        """Let no other host write to the server's disks any more, where the storage can tell hosts
        apart: the host that had the server may be alive, whatever is believed."""

    def origin(self, locations: Iterable[str]) -> str | None:
        """Where a disk can be cloned from an image instead of being copied; None: nowhere.

        :param locations: addresses at which the image service has the image
        """
        return None

    def room(self) -> tuple[int, int] | None:
        """Bytes for disks altogether and bytes free; None: those of instances_path."""
        return None


class SnapshotBackend(DiskBackend):
    """Takes snapshots of disks in an instant, beside the guest, and can share them as images.

    A snapshot is told from others of its disk by a ``label``. All methods may be repeated.
    """

    @abstractmethod
    def take(
        self, directory: Path, name: str, label: str, *, protected: bool = True
    ) -> None:
        """Take a snapshot of a disk.

        :param protected: whether it can be shared; stock nova-compute removes only those that
            are not
        """

    @abstractmethod
    def roll_back(self, directory: Path, name: str, label: str) -> bool:
        """Make a disk as it was when a snapshot was taken, in size and content.

        Nobody may have it open.

        :return: whether there is such a snapshot
        """

    @abstractmethod
    def drop(self, directory: Path, name: str, label: str) -> None:
        """Remove a snapshot; nothing to remove is success."""

    @abstractmethod
    def image_location(
        self, directory: Path, name: str, image_id: str, like: Iterable[str]
    ) -> str | None:
        """The address that an image made of this disk would have; None: it cannot be shared.

        :param like: addresses of the image that the disk was made of
        """

    @abstractmethod
    def share(self, directory: Path, name: str, label: str, location: str) -> bool:
        """Make an image of a snapshot at ``location``; False: this user must not."""

    @abstractmethod
    def unshare(self, location: str) -> None:
        """Remove what ``share`` made or has begun; nothing to remove is success."""

    @abstractmethod
    def extract(
        self,
        directory: Path,
        name: str,
        label: str,
        target: Path,
        disk_format: str,
        *,
        compress: bool = False,
        go_on: Callable[[], None] | None = None,
    ) -> None:
        """Copy a snapshot into a new file; arguments as of ``qemu_img.convert``."""

    @abstractmethod
    def extract_shared(
        self, location: str, target: Path, *, go_on: Callable[[], None] | None = None
    ) -> None:
        """Copy what was shared at ``location`` into a new raw file."""


class TransferCancelled(Exception):
    """Nobody wants a file to be sent any more; the next attempt goes on with what has arrived."""


class RemoteFiles(ABC):
    """Files of another compute host, over [libvirt]remote_filesystem_transport.

    Paths are absolute. All may be repeated, and may raise RemoteHostUnreachable (try again),
    RemoteHostRefused (somebody has to change something), DiskFull and DiskError.
    """

    @abstractmethod
    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it that are missing."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it; nothing to remove is success."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file or directory of this name."""

    @abstractmethod
    def touch(self, path: str) -> None:
        """Make an empty file; one that exists is left as it is."""

    @abstractmethod
    def send(
        self,
        local: Path,
        remote_path: str,
        *,
        cancelled: threading.Event,
        progress: Callable[[int, int], None],
    ) -> None:
        """Copy a file of this host to the other one, with its holes.

        It gets its name there when it is whole and on persistent storage, in place of what had the
        name before. A copy that was cut off is continued, unless the file has changed since; one
        that has arrived with the same size and time of change is not sent again. Nobody may write
        to the file meanwhile.

        :param remote_path: in a directory that exists
        :param cancelled: ends it within a second
        :param progress: called about once a second with the bytes that are sent, and all of them
        :raises TransferCancelled: ``cancelled`` was set
        """

    @abstractmethod
    def fetch(self, remote_path: str, local: Path) -> None:
        """Copy a file of the other host to this one; blocks of zeros become holes.

        It gets its name here when it is whole and on persistent storage. One that was cut off is
        copied from its beginning. Nobody else may fetch to the same name meanwhile.

        :param local: in a directory that exists
        :raises DiskError: there is no such file, or the like
        """
