"""The journal: what this agent has promised to do and how far it got, on disk.

One file per operation, named so that sorting gives the order of arrival, mode 0600 because the
request holds a token. Each line is one JSON record: the intent first, then notes (results that
later steps need), step boundaries and, once an operation has failed, the verdict.

fsync happens for the intent (file and directory) before the message is acknowledged, for every
note and for the verdict. Step boundaries are only flushed: they survive ``kill -9``, and after a
power failure the steps look at the world anyway. A torn last line is one that was never promised.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from nova_lite.errors import JournalError
from nova_lite.failures import Failure

LOG = logging.getLogger(__name__)

SUFFIX = ".journal"


class Entry:
    """One open operation. The steps of a stage note and mark at the same time.

    ``secrets`` are the arguments that are not on disk, ``answer`` is what a caller waits for; both
    end with the process.
    """

    def __init__(self, path: Path, intent: Mapping[str, Any]) -> None:
        self.path = path
        self.intent = intent
        self.notes: dict[str, Any] = {}
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self.failure: Failure | None = None
        self.resumed = False
        self.arrived = time.monotonic()
        self.secrets: dict[str, Any] = {}
        self.answer: Future[Any] = Future()
        self._lock = threading.Lock()
        self._file: Any = None
        self._torn = False

    @property
    def method(self) -> str:
        return str(self.intent["method"])

    @property
    def server_uuid(self) -> str:
        return str(self.intent["server"])

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity of the request: the same one twice is one operation."""
        return str(self.intent["request_id"]), self.method, self.server_uuid

    def note(self, **values: Any) -> None:
        """Remember JSON-able results, durably."""
        self.notes.update(values)
        self._append({"note": values}, sync=True)

    def mark(self, phase: str, step: str) -> None:
        """Record a step boundary: ``begin``, ``end``, ``undo`` or ``undone``."""
        if phase == "begin":
            self.begun.add(step)
        elif phase == "end":
            self.ended.add(step)
        self._append({phase: step, "at": round(time.time(), 3)})

    def fail(self, failure: Failure) -> None:
        """From here on the operation only rolls back."""
        self.failure = failure
        self._append({"failed": failure.as_dict()}, sync=True)

    def close(self) -> None:
        """The operation is over: forget it."""
        with self._lock:
            self._drop_file()
        self.path.unlink(missing_ok=True)

    def _append(self, record: Mapping[str, Any], *, sync: bool = False) -> None:
        with self._lock:
            self._write(record, sync)

    def _write(self, record: Mapping[str, Any], sync: bool) -> None:
        try:
            if self._file is None:
                if self._torn:
                    _drop_torn_line(self.path)
                self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._drop_file()
            self._torn = True
            text = f"cannot write the journal {self.path}: {error.strerror}; free space there"
            if self.failure is None:
                raise JournalError(text) from error
            # Taking back and telling the API needs no disk; a process killed now goes forward
            # again at the next start, which is right, too.
            LOG.error("%s", text)

    def _drop_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be flushed is tried once more
                self._file.close()
            self._file = None

    def _replay(self, record: Mapping[str, Any]) -> None:
        if "note" in record:
            self.notes.update(record["note"])
        elif "begin" in record:
            self.begun.add(record["begin"])
        elif "end" in record:
            self.ended.add(record["end"])
        elif "failed" in record:
            self.failure = Failure(**record["failed"])


class Unwritten(Entry):
    """An operation that failed because it could not be journalled; it lives in memory only."""

    def __init__(self, intent: Mapping[str, Any], failure: Failure) -> None:
        super().__init__(Path(os.devnull), intent)
        self.failure = failure
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def _append(self, record: Mapping[str, Any], *, sync: bool = False) -> None:
        pass


class Journal:
    """All open operations of this host, below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._counter = itertools.count()

    def prepare(self) -> None:
        """Create the directory, readable by the agent alone."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"cannot create the journal directory {self.directory}: {error.strerror}; check "
                "[DEFAULT]state_path and its permissions"
            ) from error
        if not os.access(self.directory, os.R_OK | os.W_OK | os.X_OK):
            raise JournalError(
                f"cannot write to the journal directory {self.directory}; check its permissions, "
                "and that its file system is not mounted read-only"
            )

    def open(self, intent: Mapping[str, Any]) -> Entry:
        """Promise an operation: on return the intent is on disk.

        :param intent: JSON-able; needs ``request_id``, ``method`` and ``server``
        :raises JournalError: it could not be written; nothing was promised
        """
        method = re.sub(r"\W", "", str(intent["method"]))
        name = f"{time.time_ns():020d}-{next(self._counter):06d}-{method}{SUFFIX}"
        path = self.directory / name
        partial = path.with_suffix(".part")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps({"intent": intent}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            _sync_directory(self.directory)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise JournalError(
                f"cannot write the journal {path}: {error.strerror}; free space in "
                f"{self.directory} and check its permissions"
            ) from error
        return Entry(path, intent)

    def entries(self) -> Iterator[Entry]:
        """Operations left open by an earlier process, in order of arrival."""
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            entry = _read(path)
            if entry is None:
                # Without a whole intent nothing was acknowledged: the broker sends it again.
                path.unlink(missing_ok=True)
                continue
            entry.resumed = True
            yield entry
        for path in self.directory.glob("*.part"):
            path.unlink(missing_ok=True)


def _read(path: Path) -> Entry | None:
    entry: Entry | None = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                break
            if entry is None:
                if "intent" not in record:
                    return None
                entry = Entry(path, record["intent"])
            else:
                entry._replay(record)
    if entry is not None:
        _drop_torn_line(path)
    return entry


def _drop_torn_line(path: Path) -> None:
    """Cut an unfinished last line, so that what is appended starts on its own line."""
    with open(path, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
