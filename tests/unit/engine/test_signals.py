"""What a running operation is told, and what comes of it."""

from __future__ import annotations

import threading

import pytest

from nova_lite.clock import Pace
from nova_lite.engine.queues import Pool
from nova_lite.errors import NetworkUnavailable, Verdict
from nova_lite.operations.base import Operation
from nova_lite.services.work import Interrupted, Signal, Signals
from nova_lite.steps.base import COMPLETE, NoWayBack, Step
from nova_lite.wire.context import RequestContext
from tests.unit.engine.toys import World, arguments, make_engine, request, resume


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)


class Waiting:
    """A verb whose step waits until it is told something, or released."""

    def __init__(self, end=COMPLETE):
        self.waits, self.released = threading.Event(), threading.Event()
        self.seen, self.undone, self.reported, self.completed = set(), [], None, False
        self.end = end
        self.before_end = end is COMPLETE

    def verb(world):
        class Wait(Step):
            name = "wait"

            def do(self):
                world.waits.set()
                while not world.released.wait(0.005):
                    if self.work.cancelled.is_set():
                        raise Interrupted
                    if Signal.FORCE_COMPLETE in self.work.signals:
                        world.completed = True
                        return
                world.completed = True

            def undo(self):
                world.undone.append(self.name)

        class Migrate(Operation):
            event = None

            def plan(self):
                wait = (Wait(self.work),)
                return [wait, world.end] if world.before_end else [world.end, wait]

            def failed(self, failure):
                world.reported = failure

        return Migrate


def begin(directory, world):
    engine = make_engine(directory, None, verbs={"operate": world.verb()})
    engine.start(request(engine))
    assert world.waits.wait(5)
    return engine


def test_an_abort_takes_it_back(tmp_path):
    """With a clear error; nothing of it is left."""
    world = Waiting()
    engine = begin(tmp_path, world)

    assert engine.signal("s1", Signal.ABORT)
    assert engine.settle(5)

    assert (world.undone, world.completed) == (["wait"], False)
    assert (world.reported.code, world.reported.verdict) == (409, Verdict.ABORT)
    assert "aborted" in world.reported.message


def test_past_the_point_of_no_return_it_goes_on(tmp_path):
    """It waits again, and its user gets what they asked for first."""
    world = Waiting(end=NoWayBack("the guest is on the other side"))
    engine = begin(tmp_path, world)
    world.waits.clear()

    engine.signal("s1", Signal.ABORT)
    assert world.waits.wait(5), "the step was not tried again"
    world.released.set()
    assert engine.settle(5)

    assert (world.undone, world.completed, world.reported) == ([], True, None)


def test_a_forced_end_is_the_steps_own_affair(tmp_path):
    """It ends no waiting; the step that can do something about it looks."""
    world = Waiting()
    engine = begin(tmp_path, world)

    engine.signal("s1", Signal.FORCE_COMPLETE)
    assert engine.settle(5)

    assert (world.completed, world.reported) == (True, None)


def test_an_abort_outlives_a_kill(tmp_path):
    """The user was told that it is on its way."""
    world = Waiting()
    engine = make_engine(tmp_path, None, verbs={"operate": world.verb()})
    request(engine)
    engine.signal("s1", Signal.ABORT)

    successor = make_engine(tmp_path, None, verbs={"operate": world.verb()})
    successor.resume()
    assert successor.settle(5)

    assert not world.waits.is_set()
    assert world.reported.verdict is Verdict.ABORT


def test_only_what_is_meant_is_told(tmp_path):
    """By server, and by method; who asks learns whether there was one."""
    world = Waiting()
    engine = begin(tmp_path, world)

    assert not engine.signal("s2", Signal.ABORT)
    assert not engine.signal("s1", Signal.ABORT, "live_migration")
    assert engine.signal("s1", Signal.ABORT, "operate")
    assert engine.settle(5)


def test_a_drain_is_no_failure(tmp_path):
    """It goes on at the next start."""
    world = Waiting()
    engine = begin(tmp_path, world)

    assert engine.drain(5)
    assert world.reported is None
    world.released.set()
    successor = make_engine(tmp_path, None, verbs={"operate": world.verb()})
    successor.resume()
    assert successor.settle(5)

    assert world.completed


@pytest.mark.parametrize("signal", [Signal.ABORT, Signal.DELETE])
def test_who_waits_for_a_dependency_hears_it_too(tmp_path, signal):
    """A build that waits for Neutron need not wait to the end when nobody wants it any more."""
    world = World(fail_at="left", error=NetworkUnavailable("away"))
    engine = make_engine(tmp_path, world, pace=Pace(first_retry=60.0))
    tried = threading.Event()
    engine.bus.subscribe(lambda event: tried.set() if event.error else None)
    engine.start(request(engine))
    assert tried.wait(5)

    engine.signal("s1", signal)

    assert engine.settle(10)
    assert world.exists == set()
    assert "away" not in world.reported.message


def test_a_drained_rollback_goes_on_at_the_next_start(tmp_path):
    """An undo that waits is not taken for one that cannot be done."""
    world = World(fail_at="last")
    engine = make_engine(tmp_path, world)
    undo = engine._verbs["operate"].plan

    def plan(self):
        stages = undo(self)
        stages[0][0].undo = lambda: wait(self.work)
        return stages

    waits = threading.Event()

    def wait(work):
        waits.set()
        assert work.cancelled.wait(5)
        raise Interrupted

    engine._verbs["operate"].plan = plan
    engine.start(request(engine))
    assert waits.wait(5)
    assert engine.drain(5)
    assert world.reported is None

    resume(tmp_path, world)

    assert world.exists == set()
    assert world.left == frozenset()


def test_signals_that_came_too_late_are_forgotten():
    """Whoever waits next waits again, unless there is another reason."""
    signals = Signals()
    signals.give(Signal.ABORT)
    signals.give(Signal.DRAIN)
    assert signals.ends_waiting.is_set()

    signals.drop(Signal.ABORT)
    assert Signal.ABORT not in signals and signals.ends_waiting.is_set()
    signals.drop(Signal.DRAIN)
    signals.give(Signal.FORCE_COMPLETE)
    assert not signals.ends_waiting.is_set()


def test_a_verb_about_what_goes_on_does_not_wait_for_it(tmp_path):
    """It runs beside: behind it nobody could be told anything."""
    world, told = Waiting(), []

    class Tell(Operation):
        event, beside = None, True

        def plan(self):
            engine.signal("s1", Signal.FORCE_COMPLETE, "operate")
            told.append(self.work.instance["uuid"])
            return []

        def failed(self, failure):
            raise AssertionError(failure)

    engine = make_engine(tmp_path, None, verbs={"operate": world.verb(), "tell": Tell})
    engine.start(request(engine))
    assert world.waits.wait(10)

    engine.begin("tell", RequestContext({"request_id": "req-2"}), "s1", arguments("s1"))
    assert engine.settle(10)

    assert told == ["s1"]
    assert world.completed


@pytest.mark.parametrize("how", ["done", "failed", "stopped"])
def test_what_a_process_holds_is_given_back(tmp_path, how):
    """However it is done with an operation."""
    world, left = Waiting(), []

    class Holding(world.verb()):
        def left_by_process(self):
            left.append(how)

    engine = make_engine(tmp_path, None, verbs={"operate": Holding})
    engine.start(request(engine))
    assert world.waits.wait(10)
    if how == "done":
        world.released.set()
        assert engine.settle(10)
    elif how == "failed":
        engine.signal("s1", Signal.ABORT)
        assert engine.settle(10)
    else:
        assert engine.drain(10)

    assert left == [how]
