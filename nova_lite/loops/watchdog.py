"""The watchdog: systemd restarts an agent that is stuck, and none that merely waits.

A broker, a conductor or a libvirtd that is away does not come back because this process is killed,
and what the process does meanwhile (an upload, a copy) would have to begin anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from nova_lite.clock import SYSTEM, Clock

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signs:
    """What shows that the agent works.

    ``locks`` returns when the locks of the engine can be had. ``message`` has a worker for messages
    run something. ``heartbeat`` tells how many seconds ago the last heartbeat ended, whether it got
    through or not. ``broker`` tells whether a broker carries messages, asked beside the agent's own
    connections; it may take a while.
    """

    locks: Callable[[], None]
    message: Callable[[Callable[[], None]], None]
    heartbeat: Callable[[], float]
    broker: Callable[[], bool]


class Watchdog:
    """Tells systemd that the agent works, as long as it does."""

    def __init__(
        self,
        feed: Callable[[], None],
        signs: Signs,
        *,
        heartbeat_limit: float,
        worker_limit: float,
        clock: Clock = SYSTEM,
    ) -> None:
        """
        :param feed: tells systemd
        :param heartbeat_limit: seconds; a heartbeat takes less, whoever is away
        :param worker_limit: seconds; by then a worker that hangs has been replaced
        """
        self._feed = feed
        self._signs = signs
        self._heartbeat_limit = heartbeat_limit
        self._worker_limit = worker_limit
        self._clock = clock
        self._asked_at: float | None = None  # when a worker was asked that has not answered
        self._broker_away_at: float | None = None

    def tick(self) -> None:
        """Feed the watchdog, unless something in this process hangs."""
        self._signs.locks()  # hangs itself where one is never given back
        stuck = self._workers() or self._heartbeat()
        if stuck is None:
            self._feed()
        else:
            LOG.error("This agent is stuck: %s. systemd's watchdog is not fed any more and will "
                      "restart it", stuck)  # fmt: skip

    def _workers(self) -> str | None:
        """What is wrong with the workers for messages."""
        asked = self._asked_at
        if asked is None:
            self._asked_at = self._clock.monotonic()
            self._signs.message(self._answered)
            return None
        waited = self._clock.monotonic() - asked
        if waited <= self._worker_limit:
            return None
        return f"no worker has looked at a message for {waited:.0f} s"

    def _answered(self) -> None:
        self._asked_at = None

    def _heartbeat(self) -> str | None:
        """What is wrong with the heartbeat: it hangs although the broker carries messages.

        A call may wait for a broker as long as that is away, and for a while afterwards.
        """
        hangs = self._signs.heartbeat()
        if hangs <= self._heartbeat_limit:
            return None
        broker_works, now = self._signs.broker(), self._clock.monotonic()
        if not broker_works:
            self._broker_away_at = now
        away = self._broker_away_at
        if away is not None and now - away <= self._heartbeat_limit:
            return None
        return f"its heartbeat has been under way for {hangs:.0f} s though the broker works"
