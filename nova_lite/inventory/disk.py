"""Room for local disks: size of the file system of instances_path, and what is promised of it.

Nothing is started and nothing is opened but the first bytes of qcow2 files, so that a look at a
hundred servers costs milliseconds; the disks may be in use by guests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nova_lite.errors import DiskError

GIB = 1024**3
# https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt: the header starts with
# this; bytes 24 to 31 are the virtual size, big-endian.
_QCOW2_MAGIC = b"QFI\xfb"
_SIZE_AT = 24


@dataclass(frozen=True)
class DiskSpace:
    """Where local disks are, in GiB rounded down.

    ``available_least_gb`` is what remains free if every local disk grows to its full size;
    negative when more is promised than there is (ComputeNode.disk_available_least).
    """

    total_gb: int
    free_gb: int
    available_least_gb: int


def look(instances_path: str | Path) -> DiskSpace:
    """Measure now; a directory that is not there yet counts as the file system it would be on.

    :raises DiskError: the file system does not answer
    """
    path = Path(instances_path)
    try:
        stat = os.statvfs(_existing(path))
    except OSError as exc:
        raise DiskError(f"Cannot measure instances_path {path}: {exc.strerror or exc}") from exc
    free = stat.f_bavail * stat.f_frsize
    return DiskSpace(
        total_gb=stat.f_blocks * stat.f_frsize // GIB,
        free_gb=free // GIB,
        available_least_gb=(free - promised(path)) // GIB,
    )


def shared(total_bytes: int, free_bytes: int) -> DiskSpace:
    """Room in a storage of several hosts: nobody here knows what else is promised of it."""
    return DiskSpace(total_bytes // GIB, free_bytes // GIB, free_bytes // GIB)


def cached_gb(instances_path: str | Path, cache: str | Path) -> int:
    """GiB, rounded up, that files of the image cache take of the file system of instances_path.

    :param cache: directory of the cache, relative to ``instances_path``
    """
    directory = Path(instances_path, cache)
    try:
        if os.stat(instances_path).st_dev != os.stat(directory).st_dev:
            return 0
        files = [entry for entry in os.scandir(directory) if entry.is_file()]
    except OSError:  # there is none yet
        return 0
    return -(-sum(_allocated(entry) for entry in files) // GIB)


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_blocks * 512
    except FileNotFoundError:  # removed meanwhile
        return 0


def promised(instances_path: Path) -> int:
    """Bytes by which the local disks below ``instances_path`` can still grow."""
    return sum(_growth(path, form) for path, form in _disks(instances_path))


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disks(instances_path: Path) -> Iterator[tuple[Path, str]]:
    """(path, format) of the servers' disks, as their ``disk.info`` files list them.

    The format comes from there and not from the disk: a guest can write a qcow2 header into a raw
    disk. Directories without the file hold no growing disk that is known of.
    """
    try:
        directories = sorted(entry.path for entry in os.scandir(instances_path) if entry.is_dir())
    except OSError:
        return
    for directory in directories:
        for name, form in _disk_info(Path(directory, "disk.info")).items():
            # Stock writes absolute paths; the directory may have been copied from another host.
            yield Path(directory, Path(name).name), form


def _disk_info(path: Path) -> Mapping[str, str]:
    """path -> format; empty when there is no such file or it is being written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): form for name, form in content.items() if isinstance(form, str)}


def _growth(path: Path, form: str) -> int:
    try:
        stat = path.stat()
        virtual = _virtual_size(path) if form == "qcow2" else stat.st_size
    except OSError:  # deleted meanwhile
        return 0
    return max(0, virtual - stat.st_blocks * 512)


def _virtual_size(path: Path) -> int:
    with open(path, "rb") as file:
        header = file.read(_SIZE_AT + 8)
    if not header.startswith(_QCOW2_MAGIC) or len(header) < _SIZE_AT + 8:
        return 0
    return int.from_bytes(header[_SIZE_AT:], "big")
