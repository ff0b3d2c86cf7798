"""Trying again while a dependency is away; for how long depends on which it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nova_lite.errors import (
    ControlPlaneUnavailable,
    HypervisorUnavailable,
    NetworkUnavailable,
    NovaLiteError,
    PeerUnavailable,
)

LOG = logging.getLogger(__name__)

# How long (seconds) a step is tried again while a dependency is away. The control plane has no
# limit: without it nobody could be told of a failure either.
PATIENCE: dict[type[NovaLiteError], float] = {
    ControlPlaneUnavailable: float("inf"),
    HypervisorUnavailable: 120.0,
    NetworkUnavailable: 60.0,
    PeerUnavailable: 120.0,  # a second attempt for a call whose answer got lost
}
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 5.0


class Draining(Exception):
    """The agent stops: the operation ends at a step boundary and goes on at the next start."""


def persist(attempt: Callable[[], None], drain: threading.Event) -> None:
    """Run ``attempt``, again and again while a dependency is away; it must be safe to repeat.

    :raises Draining: ``drain`` was set meanwhile
    """
    pause, began = FIRST_PAUSE, time.monotonic()
    while True:
        try:
            attempt()
            return
        except tuple(PATIENCE) as error:
            patience = next(p for kind, p in PATIENCE.items() if isinstance(error, kind))
            if time.monotonic() - began > patience:
                raise
            LOG.warning("%s; trying again in %d s", error, pause)
            if drain.wait(pause):
                raise Draining from None
            pause = min(pause * 2, LONGEST_PAUSE)
