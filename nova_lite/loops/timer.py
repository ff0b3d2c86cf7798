"""Calls ``tick`` again and again, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nova_lite.errors import NovaLiteError

LOG = logging.getLogger(__name__)


class Timer:
    """Runs ``tick`` every ``interval`` seconds and whenever :meth:`poke` asks for it.

    ``settle`` (seconds) is how long a poke waits for more of its kind, so that ten changes at once
    are one report. A tick that fails is logged and tried again at the next turn.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[], object],
        interval: float,
        *,
        settle: float = 0.0,
        first: float | None = None,
    ) -> None:
        self.name = name
        self.tick = tick
        self._interval = interval
        self._settle = settle
        self._first = interval if first is None else first
        self._poked = threading.Event()
        self._stopped = threading.Event()
        self._ended = time.monotonic()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def since_tick(self) -> float:
        """Seconds since a tick last ended, whether it succeeded or not."""
        return time.monotonic() - self._ended

    def start(self) -> None:
        self._thread.start()

    def poke(self) -> None:
        """Ask for a tick soon."""
        self._poked.set()

    def stop(self) -> None:
        self._stopped.set()
        self._poked.set()

    def _run(self) -> None:
        wait = self._first
        while not self._stopped.is_set():
            poked = self._poked.wait(wait)
            if poked and self._settle and not self._stopped.wait(self._settle):
                pass  # what came meanwhile is part of this tick
            self._poked.clear()
            if self._stopped.is_set():
                return
            start = time.monotonic()
            self._guarded()
            self._ended = time.monotonic()
            wait = max(0.0, self._interval - (time.monotonic() - start))

    def _guarded(self) -> None:
        try:
            self.tick()
        except NovaLiteError as error:
            LOG.error("%s: %s", self.name, error)
            self._failing = True
        except Exception:
            LOG.exception("%s failed", self.name)
            self._failing = True
        else:
            if self._failing:
                LOG.info("%s works again", self.name)
            self._failing = False
