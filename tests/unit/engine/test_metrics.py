"""Operations as numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.engine.bus import EngineEvent, Moment
from nova_lite.engine.metrics import OperationMetrics
from nova_lite.errors import ControlPlaneUnavailable, Verdict
from nova_lite.failures import Failure
from tests.fakes.metrics import CountedMetrics
from tests.unit.engine import toys


def entry(method="stop_instance", arrived=0.0):
    return SimpleNamespace(method=method, arrived=arrived)


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.setattr("nova_lite.engine.metrics.time.monotonic", lambda: 12.5)
    return CountedMetrics()


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (None, "success"),
        (Verdict.ABORT, "failure"),
        (Verdict.RESCHEDULE, "rescheduled"),
        (Verdict.GONE, "gone"),
    ],
)
def test_an_operation_counts_once_by_its_outcome(metrics, verdict, outcome):
    """What was handed to another host, or deleted meanwhile, is no failure of this host."""
    failure = verdict and Failure("ImageNotFound", "gone", 404, verdict, True, "")
    heard = OperationMetrics([metrics]).heard
    for moment in (Moment.ACCEPTED, Moment.BEGUN, Moment.STEP_ENDED):
        heard(EngineEvent(moment, entry(arrived=10.0)))
    heard(EngineEvent(Moment.FINISHED, entry(arrived=10.0), failure=failure))
    heard(EngineEvent(Moment.CLOSED, entry(arrived=10.0)))

    assert metrics.values == {
        ("operations_total", (("method", "stop_instance"), ("outcome", outcome))): 1,
        ("operation_seconds_total", (("method", "stop_instance"),)): 2.5,
    }


def test_retries_are_counted_by_what_was_away(metrics):
    """The class of the error says which dependency it was."""
    heard = OperationMetrics([metrics]).heard
    for error in (ControlPlaneUnavailable("away"), ControlPlaneUnavailable("away")):
        heard(EngineEvent(Moment.RETRIED, entry(), error=error))

    labels = (("error", "ControlPlaneUnavailable"), ("method", "stop_instance"))
    assert metrics.values == {("retries_total", labels): 2}


def test_the_engine_tells_how_an_operation_ended(tmp_path):
    """A failure reaches the numbers of the engine that had it."""
    metrics = CountedMetrics()
    engine = toys.make_engine(tmp_path, toys.World(fail_at="last"))
    engine.bus.subscribe(OperationMetrics([metrics]).heard)
    toys.run(engine)

    outcomes = [labels for name, labels in metrics.values if name == "operations_total"]
    assert [dict(labels)["outcome"] for labels in outcomes] == ["failure"]
