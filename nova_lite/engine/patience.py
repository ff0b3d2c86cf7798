"""Trying again while a dependency is away; for how long depends on which it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from nova_lite.clock import SYSTEM, USUAL, Clock, Pace
from nova_lite.errors import (
    ControlPlaneUnavailable,
    HypervisorUnavailable,
    NetworkUnavailable,
    NovaLiteError,
)

LOG = logging.getLogger(__name__)

# How long (seconds) a step is tried again while a dependency is away. The control plane has no
# limit: without it nobody could be told of a failure either.
PATIENCE: dict[type[NovaLiteError], float] = {
    ControlPlaneUnavailable: float("inf"),
    HypervisorUnavailable: 120.0,
    NetworkUnavailable: 60.0,
}


class Draining(Exception):
    """The agent stops: the operation ends at a step boundary and goes on at the next start."""


def persist(
    attempt: Callable[[], None],
    drain: threading.Event,
    clock: Clock = SYSTEM,
    pace: Pace = USUAL,
) -> None:
    """Run ``attempt``, again and again while a dependency is away; it must be safe to repeat.

    :raises Draining: ``drain`` was set meanwhile
    """
    pause, began = pace.first_retry, clock.monotonic()
    while True:
        try:
            attempt()
            return
        except tuple(PATIENCE) as error:
            patience = next(p for kind, p in PATIENCE.items() if isinstance(error, kind))
            if clock.monotonic() - began > patience:
                raise
            LOG.warning("%s; trying again in %d s", error, pause)
            if clock.wait(drain, pause):
                raise Draining from None
            pause = min(pause * 2, pace.longest_retry)
