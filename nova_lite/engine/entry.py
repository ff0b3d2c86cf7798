"""One open operation as the journal keeps it: records are appended, and replayed at the next start.

A record is one line of JSON. The first is the intent; the others are

======================  ========================================================================
``note``                results that later steps need
``begin``, ``end``      a step; ``undo`` and ``undone`` when it is taken back
``no way back``         the plan's point of no return was passed, and its reason
``signal``              what its user wants of it meanwhile
``failed``              the failure: from here on it rolls back
``taken back``          all steps were undone, but those named
``succeeded``           the failure does not count: the records say that it was carried out
``boot``                the host's boot id, where another boot than the intent's goes on with it
======================  ========================================================================

Steps are written through to the page cache only: that survives the end of the process. When the
host was rebooted since, no mark of a step is believed. Everything else is synced, and with it
whatever was written before.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from nova_lite.engine.key import Key
from nova_lite.errors import AnswerLost, JournalError
from nova_lite.failures import Failure
from nova_lite.services.work import Signal, Signals

LOG = logging.getLogger(__name__)

# Signals that a process which is killed must not forget; the others follow from what is there.
KEPT_SIGNALS = frozenset({Signal.ABORT, Signal.FORCE_COMPLETE})


class Entry:
    """One open operation. The steps of a stage note and mark at the same time.

    ``secrets`` are the arguments that are kept nowhere, ``answer`` is what a caller waits for until
    ``caller_waits_until`` (seconds of the monotonic clock; infinite where nobody knows, or nobody
    waits); they end with the process. ``kept_apart`` are the names of the secrets that
    ``engine/secrets.py`` keeps, ``lost`` those that are not there any more: null in ``intent``.
    ``rebooted``: the host was rebooted since it began. ``no_way_back`` is the reason for which
    nothing is taken back any more, ``taken_back`` are the steps that could not be when everything
    else was.
    """

    def __init__(
        self,
        path: Path,
        intent: Mapping[str, Any],
        boot: str = "",
        kept_apart: frozenset[str] = frozenset(),
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """:param over: called when the operation is over and its file is gone"""
        self.path = path
        self.intent = intent
        self.kept_apart = kept_apart
        self.lost: frozenset[str] = frozenset()
        self.over = over
        self.notes: dict[str, Any] = {}
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self.failure: Failure | None = None
        self.no_way_back: str | None = None
        self.taken_back: frozenset[str] | None = None
        self.resumed = False
        self.rebooted = False
        self.arrived = time.monotonic()
        self.secrets: dict[str, Any] = {}
        self.signals = Signals()
        self.answer: Future[Any] = Future()
        self.caller_waits_until = float("inf")
        self._boot = boot
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
    def key(self) -> Key:
        """Identity of the request: the same one twice is one operation."""
        return Key(
            str(self.intent["request_id"]),
            self.method,
            self.server_uuid,
            str(self.intent.get("subject", "")),
        )

    def may_have_begun(self, step: str) -> bool:
        """Whether an earlier attempt may have touched what the step is about."""
        return self.rebooted or step in self.begun

    def check_caller(self) -> None:
        """What a caller has given up on, while it waited behind the server's other operations, is
        not begun; nor does it last where that is worse than not to have been done.

        :raises AnswerLost: it has
        """
        if time.monotonic() >= self.caller_waits_until:
            raise AnswerLost(f"The caller of {self.method} has given up waiting: it has no effect")

    def note(self, **values: Any) -> None:
        """Remember JSON-able results, durably."""
        self.notes.update(values)
        self._append({"note": values}, sync=True)

    def note_unsynced(self, **values: Any) -> None:
        """Remember what only saves work, or silences a repetition: a power failure may lose it."""
        self.notes.update(values)
        self._append({"note": values})

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

    def pass_return(self, reason: str) -> None:
        """From here on nothing is taken back."""
        self._append({"no way back": reason}, sync=True)
        self.no_way_back = reason

    def took_back(self, left: Iterable[str]) -> None:
        """Everything was undone but ``left``: it must not be undone again after the API was told,
        for by then others may have the server."""
        self.taken_back = frozenset(left)
        self._append({"taken back": sorted(self.taken_back)}, sync=True)

    def succeed(self) -> None:
        """The failure does not count."""
        self.failure = None
        self._append({"succeeded": True}, sync=True)

    def signal(self, signal: Signal) -> None:
        """Tell the operation something."""
        if signal in self.signals:
            return
        self.signals.give(signal)
        if signal in KEPT_SIGNALS:
            self._append({"signal": signal.value}, sync=True)

    def close(self) -> None:
        """The operation is over: forget it."""
        with self._lock:
            self._drop_file()
        self.path.unlink(missing_ok=True)
        self.over()

    # --- the file ---------------------------------------------------------------------------
    def _append(self, record: Mapping[str, Any], *, sync: bool = False) -> None:
        with self._lock:
            self._write(record, sync)

    def _write(self, record: Mapping[str, Any], sync: bool) -> None:
        try:
            if self._file is None:
                if self._torn:
                    cut_torn_line(self.path)
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

    # --- replay -----------------------------------------------------------------------------
    def replay(self, record: Mapping[str, Any]) -> None:
        """Take in one record; unknown ones are a newer agent's, who does without them, too.

        :raises KeyError, TypeError, ValueError: it is damaged
        """
        if "note" in record:
            self.notes.update(record["note"])
        elif "begin" in record:
            self.begun.add(str(record["begin"]))
        elif "end" in record:
            self.ended.add(str(record["end"]))
        elif "failed" in record:
            self.failure = Failure.from_dict(record["failed"])
        elif "no way back" in record:
            self.no_way_back = str(record["no way back"])
        elif "taken back" in record:
            self.taken_back = frozenset(map(str, record["taken back"]))
        elif "succeeded" in record:
            self.failure = None
        elif "signal" in record:
            self.signals.give(Signal(record["signal"]))
        elif "boot" in record:
            self._another_boot(str(record["boot"]))

    def resume(self, boot: str) -> None:
        """Go on with it in this process, in the host's boot ``boot``."""
        self.resumed = True
        if not boot or boot != self._boot:
            self._another_boot(boot)
            self._append({"boot": boot})

    def _another_boot(self, boot: str) -> None:
        self._boot, self.rebooted = boot, True
        self.ended.clear()


class Unwritten(Entry):
    """An operation that failed because it could not be journalled; it lives in memory only."""

    def __init__(self, intent: Mapping[str, Any], failure: Failure) -> None:
        super().__init__(Path(os.devnull), intent)
        self.failure = failure

    def close(self) -> None:
        pass

    def _append(self, record: Mapping[str, Any], *, sync: bool = False) -> None:
        pass


def cut_torn_line(path: Path) -> None:
    """Cut an unfinished last line, so that what is appended starts on its own line."""
    with open(path, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)
