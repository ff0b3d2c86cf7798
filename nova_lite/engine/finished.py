"""Requests that were carried out: a message that comes again, even after a restart, is dropped.

A broker delivers a message again when its acknowledgement got lost on the way. By then the journal
of the operation may be gone, so the request's identity outlives it in one file. It is not synced:
only a power failure loses its end, and the steps look at the world before they change it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import OrderedDict
from pathlib import Path

LOG = logging.getLogger(__name__)

REMEMBERED = 1000

Key = tuple[str, str, str]


class Finished:
    """The last ``REMEMBERED`` requests, as (request id, method, server). Safe between threads."""

    def __init__(self, path: Path) -> None:
        """:param path: a file of our own; read if it is there"""
        self._path = path
        self._lock = threading.Lock()
        self._keys: OrderedDict[Key, None] = OrderedDict()
        self._lines = 0
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._lines += 1
                with contextlib.suppress(ValueError):  # a torn line: its request is not known
                    request_id, method, server = json.loads(line)
                    self._remember((request_id, method, server))

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._keys

    def add(self, key: Key) -> None:
        """Remember a request; one that cannot be written is remembered until the agent stops."""
        with self._lock:
            self._remember(key)
            try:
                if self._lines >= 2 * REMEMBERED:
                    self._shorten()
                else:
                    with open(self._path, "a", encoding="utf-8") as file:
                        file.write(_line(key))
                    self._lines += 1
            except OSError as error:
                LOG.warning("Cannot write %s: %s", self._path, error.strerror)

    def _remember(self, key: Key) -> None:
        self._keys[key] = None
        if len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)

    def _shorten(self) -> None:
        part = self._path.with_suffix(".part")
        part.write_text("".join(map(_line, self._keys)), encoding="utf-8")
        part.rename(self._path)
        self._lines = len(self._keys)


def _line(key: Key) -> str:
    return json.dumps(key) + "\n"
