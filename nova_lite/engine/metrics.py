"""Operations as numbers: a subscriber of the engine's bus."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nova_lite.drivers.metrics.base import Metrics
from nova_lite.engine.bus import EngineEvent, Moment
from nova_lite.errors import Verdict

# What an operation ended as, by the verdict of its failure.
OUTCOMES = {Verdict.GONE: "gone", Verdict.RESCHEDULE: "rescheduled"}


class OperationMetrics:
    """Counts operations by their method and outcome, and attempts that met an absent dependency.

    ``operations_total{method, outcome}``: success, failure, rescheduled (handed to another host) or
    gone (the server was deleted meanwhile). ``operation_seconds_total{method}``: from the arrival
    of the message, or the start of the agent that resumed it, to the end.
    ``retries_total{method, error}``: the class of the error.
    """

    def __init__(self, drivers: Sequence[Metrics]) -> None:
        self._drivers = tuple(drivers)

    def heard(self, event: EngineEvent) -> None:
        """What the bus calls."""
        method = event.entry.method
        if event.moment is Moment.FINISHED:
            failure = event.failure
            outcome = OUTCOMES.get(failure.verdict, "failure") if failure else "success"
            self._count("operations_total", {"method": method, "outcome": outcome})
            seconds = time.monotonic() - event.entry.arrived
            self._count("operation_seconds_total", {"method": method}, seconds)
        elif event.moment is Moment.RETRIED:
            error = type(event.error).__name__
            self._count("retries_total", {"method": method, "error": error})

    def _count(self, name: str, labels: dict[str, str], amount: float = 1.0) -> None:
        for driver in self._drivers:
            driver.count(name, labels, amount)
