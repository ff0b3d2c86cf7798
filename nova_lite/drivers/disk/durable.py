"""Files that are whole or absent, whatever kills the agent or the host meanwhile.

They belong to the owner of the directory they are made in: the agent runs as root, nova-compute
often as another user that must be able to go on with them, before and after.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"

LOG = logging.getLogger(__name__)


def part_name(path: Path) -> Path:
    """Where ``path`` is made before it is complete: same directory, hence same file system."""
    return path.with_name(path.name + PART)


def sync(path: Path) -> None:
    """Bring a file or directory to persistent storage."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def give(path: Path) -> None:
    """Make owner and group of ``path`` those of the directory it is in, if root has just made it.

    Nothing changes in a directory of root's own, or when the agent is not root. Libvirt takes over
    the disks of a running guest; where it can remember the owner (trusted extended attributes),
    it gives them back when the guest stops.
    """
    if os.geteuid() != 0:
        return
    made, home = os.lstat(path), os.stat(path.parent)
    if made.st_uid != 0 or home.st_uid == 0:
        return
    try:
        # The directory is somebody else's, who could have put a link here meanwhile.
        os.chown(path, home.st_uid, home.st_gid, follow_symlinks=False)
    except OSError as exc:  # some network file systems know better
        LOG.warning("Cannot give %s to user %d: %s", path, home.st_uid, exc.strerror)


def make_directory(path: Path, mode: int = 0o755, *, scratch: bool = False) -> None:
    """Make a directory and what is missing above it; one that exists is left as it is.

    :param mode: of the directory itself
    :param scratch: a power failure may lose it. Else it is on persistent storage on return:
        what is synced in a directory that is not could be lost with it.
    """
    if path.is_dir():
        return
    make_directory(path.parent, scratch=scratch)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # somebody else was faster
    give(path)
    if not scratch:
        sync(path.parent)


def publish(part: Path, path: Path) -> None:
    """Give a finished file its owner and name, so that it survives a crash from now on."""
    give(part)
    sync(part)
    os.rename(part, path)
    sync(path.parent)


@contextmanager
def made_whole(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield the name to write to; on success it is synced and renamed to ``path``.

    What an earlier, killed attempt left is removed first. Removed, not truncated: a program that
    outlived the agent may still be writing to it.
    """
    part = part_name(path)
    part.unlink(missing_ok=True)
    try:
        yield part
        os.chmod(part, mode)
        publish(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
