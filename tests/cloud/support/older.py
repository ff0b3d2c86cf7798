"""Which older release a change is tried on, too: ``python -m tests.cloud.support.older`` names it.

It is named as long as a change of what goes over the wire is less than a day older than the commit
that is checked out, and another one in turn with each commit. Nothing is printed where there is no
such change, or no git.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import rotation

OLDER = ("2025.1", "2025.2", "2026.1")
WIRE = ("nova_lite/wire", "nova_lite/peers", "nova_lite/conductor", "nova_lite/rpc")
NEW_S = 24 * 3600


def due(repository: Path = rotation.REPOSITORY) -> str | None:
    """The release, or None where the wire is as it was."""
    commit = rotation.commit(repository)
    if not commit:
        return None
    head, changed = _time(repository), _time(repository, *WIRE)
    if head is None or changed is None or head - changed > NEW_S:
        return None
    return OLDER[int(commit, 16) % len(OLDER)]


def _time(repository: Path, *paths: str) -> int | None:
    """When the last commit was made that touches these paths, in seconds of the epoch."""
    git = ["git", "-c", "safe.directory=*", "-C", str(repository), "log", "-1", "--format=%ct"]
    said = subprocess.run([*git, "--", *paths], capture_output=True, text=True, check=True).stdout
    return int(said) if said.strip() else None


if __name__ == "__main__":
    print(due() or "")
