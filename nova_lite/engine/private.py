"""Directories that nobody but the agent looks into, not even the service user of nova-compute."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.errors import JournalError


def make_private(directory: Path, option: str) -> None:
    """Make a directory, or see that one is as it was made: ours, and readable by us alone.

    Its name is on disk on return. Whoever owns the directory above (of [DEFAULT]state_path: the
    service user of nova-compute) could have made one of his own in its place.

    :param option: names where it comes from, for messages
    :raises JournalError: it cannot be made, or is somebody else's
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            durable.sync(made.parent)
        found = os.lstat(directory)
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if ours and stat.S_IMODE(found.st_mode) != 0o700:
            os.chmod(directory, 0o700)
    except OSError as error:
        raise JournalError(
            f"cannot create the directory {directory}: {error.strerror}; check {option} and its "
            "permissions"
        ) from error
    if not ours:
        raise JournalError(
            f"{directory} is not a directory of user {os.geteuid()}, and holds requests with "
            f"passwords and tokens: look at who has made it, remove it, or change {option}"
        )
