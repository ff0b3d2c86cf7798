"""Room on a file system, and the one error about having none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.errors import DiskError, DiskFull

# EFBIG is what a file size limit (RLIMIT_FSIZE, or the file system's own maximum) answers.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_bytes(path: Path) -> int:
    """Bytes that the agent may still write where ``path`` is or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def full(path: Path, needed: int) -> DiskFull:
    """The error to raise when ``needed`` more bytes do not fit at ``path``."""
    want = f"{needed} bytes are needed" if needed else "more is needed"
    return DiskFull(
        f"No room for {path}: {want}, {free_bytes(path)} bytes are free. "
        "Free space there, or configure a larger file system for that directory."
    )


def require(path: Path, needed: int) -> None:
    """Check that ``needed`` bytes fit at ``path``; raises DiskFull."""
    if needed > free_bytes(path):
        raise full(path, needed)


@contextmanager
def reported(path: Path, needed: int = 0) -> Iterator[None]:
    """Turn a full disk met inside the block, here or in a program, into DiskFull.

    Other operating system errors become DiskError.
    """
    try:
        yield
    except ToolFailed as exc:
        if exc.no_space:
            raise full(path, needed) from exc
        raise
    except OSError as exc:
        if exc.errno in _FULL:
            raise full(path, needed) from exc
        raise DiskError(f"Cannot write {path}: {exc.strerror or exc}") from exc
