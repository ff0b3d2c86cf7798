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
    PeerUnavailable,
    RemoteHostUnreachable,
    SwitchUnavailable,
)

LOG = logging.getLogger(__name__)

# How long (seconds) a step is tried again while a dependency is away; a kind of error that is not
# here has the patience of the kind that it is made of. The control plane has no limit: without it
# nobody could be told of a failure either.
PATIENCE: dict[type[NovaLiteError], float] = {
    ControlPlaneUnavailable: float("inf"),
    HypervisorUnavailable: 120.0,
    NetworkUnavailable: 60.0,
    SwitchUnavailable: 20.0,  # ovs-vswitchd is started again; a boot goes to the next host soon
    PeerUnavailable: 120.0,  # a second attempt for a call whose answer got lost
    RemoteHostUnreachable: 120.0,  # a copy goes on where it was cut off
}
# What may be at work for longer than that and make progress: how often it goes on when it was, as
# if it were tried for the first time. Others that take so long wait for an answer.
GOES_ON: dict[type[NovaLiteError], int] = {RemoteHostUnreachable: 10}

Retried = Callable[[NovaLiteError, float], None]


class WaitEnded(Exception):
    """Nobody wants to wait any longer; the dependency is still away."""


def patience_for(error: BaseException) -> float:
    """Seconds for which what met ``error`` is tried again; 0: not at all."""
    return next((PATIENCE[kind] for kind in type(error).__mro__ if kind in PATIENCE), 0.0)


def persist(
    attempt: Callable[[], None],
    stop: threading.Event,
    clock: Clock = SYSTEM,
    pace: Pace = USUAL,
    retried: Retried = lambda error, waited: None,
) -> None:
    """Run ``attempt``, again and again while a dependency is away; it must be safe to repeat.

    :param stop: set when nobody wants to wait any longer
    :param retried: told of each error after which it is tried again, and of the seconds waited
    :raises WaitEnded: ``stop`` was set while it waited
    """
    pause, began, went_on = pace.first_retry, clock.monotonic(), 0
    while True:
        this = clock.monotonic()
        try:
            attempt()
            return
        except NovaLiteError as error:
            limit, now = patience_for(error), clock.monotonic()
            if now - this > limit and went_on < GOES_ON.get(type(error), 0):
                pause, began, went_on = pace.first_retry, now, went_on + 1
            waited = now - began
            if not limit:
                raise
            if waited > limit:
                LOG.error("%s; gave up after %.0f s", error, waited)
                raise
            LOG.warning("%s; trying again in %.0f s (%s away for %.0f s, waiting for %s)", error,
                        pause, type(error).__name__, waited, _at_most(limit))  # fmt: skip
            retried(error, waited)
            if clock.wait(stop, pause):
                LOG.info("Stopped waiting after %.0f s, %s", clock.monotonic() - began, error)
                raise WaitEnded from None
            pause = min(pause * 2, pace.longest_retry)


def _at_most(limit: float) -> str:
    return "as long as it takes" if limit == float("inf") else f"at most {limit:.0f} s"
