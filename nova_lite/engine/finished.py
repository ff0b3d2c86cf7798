"""Requests that were carried out, and what they came to, so that the same request gets the same.

A message comes again when its acknowledgement got lost, and a caller asks again when the answer
did. By then the journal of the operation is gone, so the outcome outlives it in one file. It is
synced before the answer leaves and before the journal entry goes: an entry that is back after a
power failure, or that a kill has left, is known here by its key.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import durable
from nova_lite.engine.key import Key
from nova_lite.failures import Failure
from nova_lite.wire import confidential

LOG = logging.getLogger(__name__)

REMEMBERED = 1000


@dataclass(frozen=True)
class Outcome:
    """What an operation came to: the answer, or the failure.

    ``known`` is False where neither was kept: nobody waits for it. ``boot`` is the boot of the host
    (its boot id) in which the answer holds; empty: in all.
    """

    answer: Any = None
    failure: Failure | None = None
    known: bool = True
    boot: str = ""


UNKNOWN = Outcome(known=False)


class Finished:
    """The last ``REMEMBERED`` requests with their outcomes. Safe between threads."""

    def __init__(self, path: Path, boot: str = "") -> None:
        """
        :param path: a file of our own; read if it is there
        :param boot: this boot of the host; of another one some answers do not hold
        """
        self._path = path
        self._lock = threading.Lock()  # of the memory; never held while the disk is waited for
        self._writing = threading.Lock()
        self._outcomes: OrderedDict[Key, Outcome] = OrderedDict()
        self._lines = 0
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                self._lines += 1
                with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                    key, outcome = _parse(line)  # of a torn line the request is not known
                    self._remember(key, outcome if outcome.boot in ("", boot) else UNKNOWN)
            if text and not text.endswith("\n"):
                self._lines = 2 * REMEMBERED  # write it anew: nothing must be appended to that

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._outcomes

    def outcome(self, key: Key) -> Outcome | None:
        """What a request came to; None: it is not known to have ended."""
        with self._lock:
            return self._outcomes.get(key)

    def add(self, key: Key, outcome: Outcome = UNKNOWN) -> None:
        """Remember a request, durably; one that cannot be written, until the agent stops."""
        try:
            # What is written is what is remembered at that moment, whoever writes.
            with self._writing:
                with self._lock:
                    self._remember(key, outcome)
                if self._lines >= 2 * REMEMBERED:
                    self._shorten()
                    return
                new = not self._path.exists()
                file = open(self._path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115
                with contextlib.ExitStack() as failed:
                    failed.callback(file.close)
                    file.write(_line(key, outcome))
                    file.flush()
                    failed.pop_all()
                self._lines += 1
            with file:  # several may wait for the disk at the same time
                os.fsync(file.fileno())
            if new:
                durable.sync(self._path.parent)
        except OSError as error:
            LOG.warning("Cannot write %s: %s; a request that comes again after a restart may be "
                        "carried out twice", self._path, error.strerror)  # fmt: skip

    def _remember(self, key: Key, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        if len(self._outcomes) > REMEMBERED:
            self._outcomes.popitem(last=False)

    def _shorten(self) -> None:
        with self._lock:
            kept = list(self._outcomes.items())
        part = self._path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open(part, "w", encoding="utf-8", opener=_private) as file:
            file.write("".join(_line(*item) for item in kept))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._path)
        durable.sync(self._path.parent)
        self._lines = len(kept)


def _private(path: str, flags: int) -> int:
    """Answers are nobody else's business."""
    return os.open(path, flags, 0o600)


def _line(key: Key, outcome: Outcome) -> str:
    record: dict[str, Any] = {"key": list(key)}
    if outcome.failure is not None:
        record["failure"] = outcome.failure.as_dict()
    elif outcome.known:
        record["answer"] = confidential.without(outcome.answer)
    if outcome.boot:
        record["boot"] = outcome.boot
    return json.dumps(record) + "\n"


def _parse(line: str) -> tuple[Key, Outcome]:
    record = json.loads(line)
    if isinstance(record, list):  # of an agent that kept no outcomes
        return Key(*record), UNKNOWN
    return Key(*record["key"]), _outcome(record)


def _outcome(record: Mapping[str, Any]) -> Outcome:
    if "failure" in record:
        return Outcome(failure=Failure.from_dict(record["failure"]))
    if "answer" in record:
        return Outcome(record["answer"], boot=str(record.get("boot", "")))
    return UNKNOWN
