"""Whether a file system can be written around the page cache (O_DIRECT); tmpfs and some cannot."""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
from pathlib import Path

LOG = logging.getLogger(__name__)

BLOCK = 4096


def supported(directory: Path) -> bool:
    """Try it with one aligned block in a file without a name."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        descriptor, name = tempfile.mkstemp(prefix=".directio-", dir=directory)
        os.close(descriptor)
    except OSError as error:
        LOG.warning("Cannot write to %s: %s", directory, error.strerror)
        return False
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_DIRECT)
        try:
            with mmap.mmap(-1, BLOCK) as block:
                os.write(descriptor, block)
        finally:
            os.close(descriptor)
        return True
    except OSError:
        return False
    finally:
        os.unlink(name)
