"""What is mounted where on this host, by the mount table of this process (proc(5), mountinfo).

No file system is asked for it: one that has gone may hang whoever does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")


def mounts() -> Iterator[tuple[Path, str]]:
    """(mount point, kind of file system as mount(8) calls it); later ones hide earlier ones.

    :raises OSError: the table cannot be read
    """
    for line in TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        place, _, device = line.partition(" - ")
        yield Path(_unescape(place.split(" ")[4])), device.split()[0]


def file_system(path: Path) -> str:
    """The kind of file system that ``path`` is on; empty: not known."""
    depth, kind = 0, ""
    where = path.resolve()
    try:
        for point, found in mounts():
            if where.is_relative_to(point) and len(point.parts) >= depth:
                depth, kind = len(point.parts), found
    except OSError:
        return ""
    return kind


def _unescape(path: str) -> str:
    """Blanks and the like stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
