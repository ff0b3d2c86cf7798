"""Whose turn it is to leave this host by a live migration: [DEFAULT]max_concurrent_live_migrations.

All are in the journal; what is kept here is the order in which they wait, and who has a turn.
"""

from __future__ import annotations

import threading
from collections import deque

LOOK_S = 1.0  # a wait is ended from outside within so many seconds


class Turns:
    """Turns by server, first come, first served. Safe between threads."""

    def __init__(self, at_once: int) -> None:
        """:param at_once: how many there are; 0: as many as are wanted"""
        self._at_once = at_once
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._taken: set[str] = set()

    def take(self, server_uuid: str) -> None:
        """Go on with what has begun: its turn is taken whoever else has one."""
        with self._changed:
            self._taken.add(server_uuid)

    def is_free(self, server_uuid: str) -> bool:
        """Take a turn if it comes at once."""
        with self._changed:
            return self._try(server_uuid)

    def wait(self, server_uuid: str, cancelled: threading.Event) -> bool:
        """Wait for a turn; False where ``cancelled`` was set before it came."""
        with self._changed:
            self._waiting.append(server_uuid)
            try:
                while not cancelled.is_set():
                    if self._try(server_uuid):
                        return True
                    self._changed.wait(LOOK_S)
                return False
            finally:
                self._waiting.remove(server_uuid)
                self._changed.notify_all()

    def give_back(self, server_uuid: str) -> None:
        """Let the next one have it; none to give back is success."""
        with self._changed:
            self._taken.discard(server_uuid)
            self._changed.notify_all()

    def _try(self, server_uuid: str) -> bool:
        if server_uuid in self._taken:
            return True
        first = not self._waiting or self._waiting[0] == server_uuid
        room = not self._at_once or len(self._taken) < self._at_once
        if first and room:
            self._taken.add(server_uuid)
            return True
        return False
