"""What happens to operations, told to all who subscribe: tests, notifications, metrics.

A subscriber is called in the thread of the operation, so it must be quick. Its errors are logged:
they cannot hurt the operation.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_lite.engine.entry import Entry
from nova_lite.failures import Failure

if TYPE_CHECKING:
    from nova_lite.operations.base import Operation
    from nova_lite.steps.base import Stage

LOG = logging.getLogger(__name__)


class Moment(enum.Enum):
    """What happened. The values are part of the names of boundaries."""

    ACCEPTED = "accepted"  # it is promised
    BEGUN = "begun"  # it was loaded: its server is known, and nothing was done to it yet
    STEP_BEGAN = "begin"
    STEP_ENDED = "end"
    STAGE_ENDED = "stage"
    NO_WAY_BACK = "no_way_back"  # the point of no return is on disk
    CARRIED_OUT = "carried_out"  # the whole plan
    RETRIED = "retried"  # a dependency is away; it is tried again
    FAILED = "failed"  # from here on it rolls back
    UNDO_BEGAN = "undo"
    UNDO_ENDED = "undone"
    REPORTED = "reported"  # the API knows of the failure
    FINISHED = "finished"  # its outcome is on disk
    CLOSED = "closed"  # its journal entry is gone


# Moments at which a kill makes a difference.
BOUNDARIES = frozenset(Moment) - {
    Moment.BEGUN, Moment.STAGE_ENDED, Moment.CARRIED_OUT, Moment.RETRIED
}  # fmt: skip


@dataclass(frozen=True)
class EngineEvent:
    """One moment of an operation.

    ``operation`` is unknown before it was begun; ``step`` is the step's name, ``stage`` the one
    that has ended; ``error`` is why it is tried again, ``waited`` for how many seconds so far.
    """

    moment: Moment
    entry: Entry
    operation: Operation | None = None
    step: str | None = None
    stage: Stage | None = None
    failure: Failure | None = None
    error: Exception | None = None
    waited: float = 0.0

    @property
    def boundary(self) -> str:
        """The name by which tests know it: ``stop_instance:power_off:end``."""
        middle = f":{self.step}" if self.step else ""
        return f"{self.entry.method}{middle}:{self.moment.value}"


Subscriber = Callable[[EngineEvent], None]


class Bus:
    """Hands each event to all subscribers, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` called with each event from now on."""
        self._subscribers = (*self._subscribers, subscriber)

    def publish(self, event: EngineEvent) -> None:
        """Tell all subscribers; only what ends a thread (BaseException) gets through to the caller.

        That is how tests end an operation as a kill would.
        """
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                LOG.exception("A subscriber failed at %s of server %s",
                              event.boundary, event.entry.server_uuid)  # fmt: skip


def at_boundaries(observer: Callable[[str], None]) -> Subscriber:
    """A subscriber that calls ``observer`` with the name of each boundary."""

    def subscriber(event: EngineEvent) -> None:
        if event.moment in BOUNDARIES:
            observer(event.boundary)

    return subscriber
