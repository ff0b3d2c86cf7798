"""Keeps nova-scheduler's list of the servers on this host true.

Without that a scheduler that has heard of the host before, from stock nova-compute, would go on
with what it heard last: it would put servers of an affinity group beside ones that are gone.
[filter_scheduler]track_instance_changes and [DEFAULT]scheduler_instance_sync_interval.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from nova_lite.clock import SYSTEM, Clock
from nova_lite.scheduler.client import Scheduler


class SchedulerList:
    """Tells what has changed at each tick, and everything at the first one and in intervals.

    :param servers: tells the uuids of the servers that are here
    :param every: seconds between two complete lists; None: only one at the start, and another
        after a cast that may have got lost
    """

    def __init__(
        self,
        scheduler: Scheduler,
        servers: Callable[[], Collection[str]],
        every: float | None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._scheduler = scheduler
        self._servers = servers
        self._every = every
        self._clock = clock
        self._told: frozenset[str] | None = None
        self._complete_at = float("-inf")

    def tick(self) -> None:
        """
        :raises ControlPlaneUnavailable: the broker did not take it; the next tick tells everything
        """
        here, told, self._told = frozenset(self._servers()), self._told, None
        now = self._clock.monotonic()
        if told is None or (self._every is not None and now - self._complete_at >= self._every):
            self._scheduler.sync(here)
            self._complete_at = now
        else:
            for uuid in sorted(told - here):
                self._scheduler.left(uuid)
            for uuid in sorted(here - told):
                self._scheduler.arrived(uuid)
        self._told = here
