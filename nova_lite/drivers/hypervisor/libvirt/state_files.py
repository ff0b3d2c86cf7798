"""Files that libvirt and its helpers keep of a guest, and that go with it to another host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def put(source: Path, target: Path) -> None:
    """Copy a small file, which gets its name when it is whole and on persistent storage."""
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    os.chmod(part, 0o600)
    sync(part)
    part.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Bring a file or directory to persistent storage."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
