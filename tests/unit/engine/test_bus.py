"""Who subscribes hears everything, and can do no harm."""

from __future__ import annotations

import pytest

from nova_lite.engine import patience
from nova_lite.engine.bus import Moment
from nova_lite.errors import NetworkUnavailable
from tests.unit.engine.toys import World, make_engine, run


def heard_of(tmp_path, **settings):
    engine, events = make_engine(tmp_path, World(**settings)), []
    engine.bus.subscribe(events.append)
    run(engine)
    return events


def moments(events, *but):
    return [event.moment for event in events if event.moment not in but]


STEPS = (Moment.STEP_BEGAN, Moment.STEP_ENDED, Moment.UNDO_BEGAN, Moment.UNDO_ENDED,
         Moment.STAGE_ENDED)  # fmt: skip


def test_the_life_of_an_operation(tmp_path):
    """From the promise to its end, with every step."""
    events = heard_of(tmp_path)

    assert moments(events, *STEPS) == [
        Moment.ACCEPTED, Moment.BEGUN, Moment.CARRIED_OUT, Moment.FINISHED, Moment.CLOSED
    ]  # fmt: skip
    assert [e.step for e in events if e.moment is Moment.STEP_ENDED][0] == "first"
    assert {e.entry.server_uuid for e in events} == {"s1"}


def test_a_failure(tmp_path):
    """Those who listen learn why."""
    events = heard_of(tmp_path, fail_at="last")

    assert moments(events, *STEPS) == [
        Moment.ACCEPTED, Moment.BEGUN, Moment.FAILED, Moment.REPORTED, Moment.FINISHED,
        Moment.CLOSED,
    ]  # fmt: skip
    assert {e.failure.message for e in events if e.failure} == {"Image 42 is gone"}


def test_a_retry_says_what_is_away(tmp_path, monkeypatch):
    """And in which step, and for how long it was waited."""
    monkeypatch.setitem(patience.PATIENCE, NetworkUnavailable, 0.05)

    events = heard_of(tmp_path, fail_at="last", error=NetworkUnavailable("Neutron is away"))
    retried = [event for event in events if event.moment is Moment.RETRIED]

    assert retried[0].step == "last"
    assert str(retried[0].error) == "Neutron is away"
    assert retried[-1].waited > 0


def test_a_subscriber_that_fails_hurts_nobody(tmp_path, caplog):
    """Neither the operation nor the other subscribers."""
    world, others = World(), []
    engine = make_engine(tmp_path, world)

    def fail(event):
        raise RuntimeError("a bug in metrics")

    engine.bus.subscribe(fail)
    engine.bus.subscribe(others.append)
    run(engine)

    assert world.reported is None
    assert moments(others)[-1] is Moment.CLOSED
    assert "a bug in metrics" in caplog.text


def test_what_ends_a_thread_gets_through(tmp_path):
    """That is how tests kill an operation."""

    class Killed(BaseException):
        pass

    engine = make_engine(tmp_path, World())

    def kill(event):
        raise Killed

    engine.bus.subscribe(kill)
    with pytest.raises(Killed):
        run(engine)
