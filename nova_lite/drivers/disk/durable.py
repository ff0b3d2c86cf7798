"""Files that are whole or absent, whatever kills the agent or the host meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"


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


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, so that it survives a crash from now on."""
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
