"""The journal: what this agent has promised to do and how far it got, on disk.

One file per operation, mode 0600, named by a number that grows with each: sorting gives the order
of arrival whatever the clock does. What is in it: ``entry.py``. The request's secrets are not:
``secrets.py``.

The intent is synced, file and directory, before the message is acknowledged. A file that cannot be
understood is set aside with an ERROR, and the agent goes on without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nova_lite.drivers.disk import durable
from nova_lite.engine.entry import Entry, cut_torn_line
from nova_lite.engine.private import make_private
from nova_lite.engine.secrets import SecretFiles
from nova_lite.errors import JournalError
from nova_lite.wire import confidential

LOG = logging.getLogger(__name__)

SUFFIX = ".journal"
SET_ASIDE = "set-aside"
LOCK = "lock"
# Of the records. One that an older agent would misunderstand gets the next number.
FORMAT = 3
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Records that are synced, and with them all that was written before.
SYNCED = ("note", "failed", "no way back", "taken back", "succeeded", "signal")


class _Unreadable(Exception):
    """A file of the journal cannot be understood; the text says why."""


class Journal:
    """All open operations of this host, below ``directory``.

    :param boot_id: what is different after each boot of the host; None: the kernel says
    :param secrets: where the secrets of requests are kept; None: they end with the process
    """

    def __init__(
        self, directory: Path, boot_id: str | None = None, secrets: SecretFiles | None = None
    ) -> None:
        self.directory = directory
        self._boot_id = boot_id
        self._secrets = secrets
        self._lock = threading.Lock()
        self._last_number: int | None = None
        self._locked: IO[str] | None = None

    def prepare(self) -> None:
        """Create the directory, readable by the agent alone; on return it is on disk.

        :raises JournalError: it cannot be created, or not be written to, or is somebody else's
        """
        make_private(self.directory, "[DEFAULT]state_path")
        if self._secrets is not None:
            self._secrets.prepare()
        if not os.access(self.directory, os.R_OK | os.W_OK | os.X_OK):
            raise JournalError(
                f"cannot write to the journal directory {self.directory}; check its permissions, "
                "and that its file system is not mounted read-only"
            )

    def lock(self) -> None:
        """Keep other agents out for as long as this process lives.

        :raises JournalError: another agent has it
        """
        path = self.directory / LOCK
        try:
            file = self._locked = open(path, "a+", encoding="ascii")  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        except BlockingIOError:
            holder = path.read_text(encoding="ascii").strip() or "unknown"
            raise JournalError(
                f"another nova_lite agent (process {holder}) works with {self.directory}; its lock "
                f"is {path}: stop it first, or give this one a [DEFAULT]state_path of its own"
            ) from None
        except OSError as error:
            raise JournalError(
                f"cannot lock {path}: {error.strerror}; check its permissions and file system"
            ) from error

    @property
    def boot_id(self) -> str:
        """The kernel's name for the time since it was started; empty where it has none."""
        if self._boot_id is None:
            try:
                self._boot_id = BOOT_ID.read_text(encoding="ascii").strip()
            except OSError as error:
                LOG.warning("Cannot read %s: %s", BOOT_ID, error.strerror)
                self._boot_id = ""
        return self._boot_id

    def open(self, intent: Mapping[str, Any]) -> Entry:
        """Promise an operation: on return the intent is on disk.

        :param intent: JSON-able; needs ``request_id``, ``method`` and ``server``. Its secrets
            (``wire/confidential.py``) are kept apart
        :raises JournalError: it could not be written; nothing was promised, and nothing is left
            that could be taken for a promise
        """
        method = re.sub(r"\W", "", str(intent["method"]))
        path = self.directory / f"{self._next_number():020d}-{method}{SUFFIX}"
        partial = path.with_suffix(".part")
        told, secrets = confidential.taken_out(dict(intent))
        kept_apart = sorted(confidential.names(secrets))
        record = {"intent": told, "secrets": kept_apart, "format": FORMAT, "boot": self.boot_id}
        if secrets and self._secrets is not None:
            self._secrets.keep(path.stem, secrets)
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            durable.sync(self.directory)
        except OSError as error:
            for left in (partial, path):
                _withdraw(left)
            self._forget(path.stem)
            raise JournalError(
                f"cannot write the journal {path}: {error.strerror}; free space in "
                f"{self.directory} and check its permissions"
            ) from error
        return Entry(path, intent, self.boot_id, over=lambda: self._forget(path.stem))

    def _forget(self, name: str) -> None:
        if self._secrets is not None:
            self._secrets.drop(name)

    def _next_number(self) -> int:
        with self._lock:
            if self._last_number is None:
                names = self.directory.glob("*-*") if self.directory.is_dir() else ()
                found = (re.match(r"\d+", path.name) for path in names)
                self._last_number = max((int(number[0]) for number in found if number), default=0)
            self._last_number += 1
            return self._last_number

    def entries(self) -> Iterator[Entry]:
        """Operations left open by an earlier process, in order of arrival."""
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            try:
                entry = _read(path)
            except (_Unreadable, OSError) as error:
                self.set_aside(path, str(error))
                continue
            if entry is None:
                path.unlink(missing_ok=True)
                continue
            self._give_secrets(entry)
            try:
                entry.resume(self.boot_id)
            except JournalError as error:
                LOG.error("%s", error)  # a full disk keeps nobody from going on
            yield entry
        for path in self.directory.glob("*.part"):
            path.unlink(missing_ok=True)
        if self._secrets is not None:
            self._secrets.sweep({path.stem for path in self.directory.rglob(f"*{SUFFIX}*")})

    def _give_secrets(self, entry: Entry) -> None:
        """Put the secrets back into a request that an earlier process has promised."""
        if entry.kept_apart:
            name = entry.path.stem
            secrets = self._secrets.read(name) if self._secrets is not None else None
            try:
                if secrets is None or confidential.names(secrets) != entry.kept_apart:
                    raise KeyError(name)
                confidential.put_back(dict(entry.intent), secrets)
            except (KeyError, IndexError, TypeError):
                entry.lost = entry.kept_apart
        entry.over = lambda: self._forget(entry.path.stem)

    def set_aside(self, path: Path, problem: str) -> None:
        """Move a file out of the way that nobody here can go on with, and say so."""
        target = self.directory / SET_ASIDE / path.name
        try:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            number = 0
            while target.exists():
                number += 1
                target = target.with_name(f"{path.name}.{number}")
            path.rename(target)
        except OSError as error:
            LOG.error("The journal %s cannot be gone on with (%s), nor be moved to %s (%s): "
                      "remove it, and look at its server",
                      path, problem, target, error.strerror)  # fmt: skip
            return
        LOG.error("The journal %s cannot be gone on with: %s. It was set aside as %s. Look at the "
                  "server that it names; if a newer agent wrote it, start that one again and move "
                  "the file back first, else delete it", path, problem, target)  # fmt: skip


def _read(path: Path) -> Entry | None:
    """The entry of a file; None: nothing was promised with it.

    :raises _Unreadable: it is damaged, or of a newer format
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    lines = content[:whole].splitlines(keepends=True)
    if not lines:
        # Without a whole intent nothing was acknowledged: the broker sends it again.
        return None
    records = list(map(_parse, lines))
    entry = _intent(path, records[0])
    for number, record in enumerate(records[1:], 1):
        if record is None:
            if any(later and not later.keys().isdisjoint(SYNCED) for later in records[number:]):
                raise _Unreadable(f"line {number + 1} is damaged")
            # The power failed while these lines were on their way.
            os.truncate(path, sum(map(len, lines[:number])))
            break
        try:
            entry.replay(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _Unreadable(f"line {number + 1} is damaged: {error!r}") from None
    cut_torn_line(path)
    return entry


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _intent(path: Path, record: dict[str, Any] | None) -> Entry:
    intent = (record or {}).get("intent")
    if record is None or not isinstance(intent, dict):
        raise _Unreadable("its first line is not a request")
    version = record.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise _Unreadable(f"its format is {version}, this agent knows up to {FORMAT}")
    missing = {"request_id", "method", "server"} - intent.keys()
    if missing:
        raise _Unreadable(f"its request lacks {', '.join(sorted(missing))}")
    kept_apart = record.get("secrets") or ()
    if not isinstance(kept_apart, list | tuple):
        raise _Unreadable("its list of secrets is damaged")
    return Entry(path, intent, str(record.get("boot") or ""), frozenset(map(str, kept_apart)))


def _withdraw(path: Path) -> None:
    """Take back an intent that is not promised, as surely as a disk allows that fails."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        file.truncate(0)
        os.fsync(file.fileno())
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
