"""Jobs about servers that are done some seconds later, by few threads however many there are."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from nova_lite.clock import SYSTEM, Clock
from nova_lite.engine.queues import Pool, ServerQueues

WORKERS = 4
_POOL = "later"


class Later:
    """One thread waits, ``workers`` do what is due; jobs about one server one after the other.

    Of the jobs that wait for the same server only the last is done, at its time: it finds what the
    others would have found. While there are none, there is no thread.
    """

    def __init__(self, workers: int = WORKERS, clock: Clock = SYSTEM) -> None:
        self._queues = ServerQueues({_POOL: Pool(_POOL, workers)})
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, str, Callable[[], None]]] = []
        self._last: dict[str, int] = {}  # server -> number of its last job that waits
        self._waiting = False

    def do(self, seconds: float, server: str, job: Callable[[], None]) -> None:
        """Run ``job`` about ``server`` after so many seconds."""
        with self._changed:
            number = self._last[server] = next(self._numbers)
            heapq.heappush(self._due, (self._clock.monotonic() + seconds, number, server, job))
            self._changed.notify()
            if not self._waiting:
                self._waiting = True
                threading.Thread(target=self._wait, name="later", daemon=True).start()

    def _wait(self) -> None:
        """Hand over what is due, until nothing waits."""
        while (found := self._next()) is not None:
            server, job = found
            self._queues.submit(server, _POOL, f"a look at server {server}", job)

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._changed:
            while self._due:
                due, number, server, job = self._due[0]
                last = self._last.get(server) == number
                left = due - self._clock.monotonic()
                if last and left > 0:
                    self._clock.wait(self._changed, left)
                    continue
                heapq.heappop(self._due)
                if last:
                    del self._last[server]
                    return server, job
            self._waiting = False
            return None
