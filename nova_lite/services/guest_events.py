"""What the hypervisor tells of guests that are sent to other hosts, for those who wait for it."""

from __future__ import annotations

import threading

from nova_lite.clock import SYSTEM, Clock
from nova_lite.model.host import DomainEvent

GONE = "stopped"  # the kind of event, of a migration, that says that the other host has the guest


class GuestEvents:
    """The last event of a migration by guest; safe between threads. ``heard`` is given to the
    hypervisor, and never blocks."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._last: dict[str, tuple[int, str]] = {}

    def heard(self, event: DomainEvent) -> None:
        """Take an event in."""
        if not event.of_migration:
            return
        with self._changed:
            number, _ = self._last.get(event.uuid, (0, ""))
            self._last[event.uuid] = number + 1, event.kind
            self._changed.notify_all()

    def wait(self, server_uuid: str, number: int, seconds: float) -> tuple[int, str | None]:
        """Wait for more events of a guest than ``number``, which is 0 at first: an event that came
        before anybody waited is not missed.

        :return: how many there are now, for the next call, and the kind of the last one; None when
            none came within so many seconds
        """
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while True:
                known, kind = self._last.get(server_uuid, (0, ""))
                if known > number:
                    return known, kind
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return known, None
                self._clock.wait(self._changed, left)

    def forget(self, server_uuid: str) -> None:
        """Nobody waits for this guest any more."""
        with self._changed:
            self._last.pop(server_uuid, None)
