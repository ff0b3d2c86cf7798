"""A power failure, as a directory sees it: only what was synced is left.

    recorder = SyncRecorder(directory)   # in the process that will be cut off
    with recorder:                       # or recorder.start(); a killed process needs no stop
        ...
    lose_unsynced(directory)             # afterwards, in any process

While it records, each fsync of a file of the directory keeps the file's content, and each fsync of
the directory its names. ``lose_unsynced`` then puts the directory back to that: what was appended
since is cut, files whose name was not synced are gone, and files whose removal was not synced are
back. That is the worst that POSIX allows; most file systems lose less. What was there when the
recording began counts as synced. Directories inside are left alone.

The record is kept beside the directory, in ``<name>.synced``, so that it outlives the process.
Whoever simulates a power failure of a whole host also stops its guests, removes its taps, and gives
the next process another boot id: ``Journal(directory, boot_id="another")``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

NAMES = "names.json"


class SyncRecorder:
    """Keeps what of ``directory`` is on disk for sure."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.record = _record(self.directory)
        self._lock = threading.Lock()
        self._fsync = os.fsync

    def start(self) -> None:
        """Begin to record; everything that is there counts as synced."""
        shutil.rmtree(self.record, ignore_errors=True)
        self.record.mkdir()
        for path in _files(self.directory):
            self._keep(path.stat().st_ino, path)
        self._keep_names()
        self._fsync = os.fsync
        os.fsync = self._record_fsync

    def stop(self) -> None:
        """Record nothing more; what was recorded stays."""
        os.fsync = self._fsync

    def __enter__(self) -> SyncRecorder:
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def _record_fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        with self._lock:
            if path == self.directory:
                self._keep_names()
            elif path.parent == self.directory:
                self._keep(os.fstat(number).st_ino, Path(f"/proc/self/fd/{number}"))

    def _keep(self, inode: int, source: Path) -> None:
        # As long as the file has another name, its number is not given to a new one.
        alive = self.record / f"{inode}.alive"
        if not alive.exists():
            with contextlib.suppress(OSError):  # it has no name any more
                os.link(source, alive, follow_symlinks=True)
        part = self.record / f"{inode}.part"
        shutil.copyfile(source, part)
        part.rename(self.record / str(inode))

    def _keep_names(self) -> None:
        names = {path.name: path.stat().st_ino for path in _files(self.directory)}
        part = self.record / f"{NAMES}.part"
        part.write_text(json.dumps(names))
        part.rename(self.record / NAMES)


def lose_unsynced(directory: Path) -> None:
    """Leave of ``directory`` what a power failure now would leave."""
    directory = directory.resolve()
    record = _record(directory)
    names = json.loads((record / NAMES).read_text())
    for path in _files(directory):
        path.unlink()
    for name, inode in names.items():
        content = record / str(inode)
        (directory / name).write_bytes(content.read_bytes() if content.exists() else b"")
        (directory / name).chmod(0o600)


def _record(directory: Path) -> Path:
    return directory.with_name(directory.name + ".synced")


def _files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.is_file()]
