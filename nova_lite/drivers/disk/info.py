"""The ``disk.info`` file beside a server's disks: which format each was made in.

One JSON object, absolute path -> format, as nova-compute writes and reads it. It exists because a
guest can write any header into a raw disk: the format on record counts, never the one detected.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.errors import DiskError

NAME = "disk.info"

# Two disks of one server may be made in parallel; the file is small and local.
_lock = threading.Lock()


def read(directory: Path) -> dict[str, str]:
    """Everything on record for the server whose disks are in ``directory``; raises DiskError."""
    path = directory / NAME
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return {}
    try:
        record = json.loads(text) if text else {}
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DiskError(f"{path} does not hold a JSON object: restore or remove it")
    return record


def record(disk: Path, disk_format: str) -> None:
    """Note the format of a disk, before the disk gets its name."""
    with _lock:
        known = read(disk.parent)
        if known.get(str(disk)) != disk_format:
            _write(disk.parent, {**known, str(disk): disk_format})


def forget(disk: Path) -> None:
    """Drop a removed disk from the record."""
    with _lock:
        known = read(disk.parent)
        if known.pop(str(disk), None) is not None:
            _write(disk.parent, known)


def _write(directory: Path, known: dict[str, str]) -> None:
    with durable.made_whole(directory / NAME) as part:
        part.write_text(json.dumps(known) + "\n")
