"""The engine: forward, back, again after a kill at any boundary."""

from __future__ import annotations

import errno
import threading

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    ControlPlaneUnavailable,
    HypervisorError,
    JournalError,
    Verdict,
)
from nova_lite.operations.base import Operation
from nova_lite.services.work import Interrupted
from nova_lite.steps.base import COMPLETE, Step
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.unit.engine.toys import STEPS, World, boundaries, kill_at, make_engine, request, run


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    """Workers end at once when there is nothing to do, so that a test can join them."""
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)


def test_all_steps_run_and_nothing_is_left(tmp_path):
    """The happy path: every step once, the event started and finished, no journal left."""
    world = World()
    engine = make_engine(tmp_path, world)

    run(engine)

    assert world.exists == set(STEPS)
    assert engine.seen_events == [("start", "compute_operate"), ("finish", None)]
    assert list(tmp_path.glob("*.journal")) == []


@pytest.mark.parametrize("name", STEPS)
def test_a_failing_step_takes_everything_back(tmp_path, name):
    """What the operation made is undone, and the API is told why."""
    world = World()
    world.fail_at = name
    engine = make_engine(tmp_path, world)

    run(engine)

    assert world.exists == set()
    assert world.reported.message == "Image 42 is gone"
    assert engine.seen_events[-1] == ("finish", world.reported)
    assert list(tmp_path.glob("*.journal")) == []


def test_a_verb_on_an_existing_guest_takes_nothing_back(tmp_path):
    """What a failed start has touched was there before: undoing would take the guest away."""
    world = World()
    world.fail_at, world.end = "last", None

    run(make_engine(tmp_path, world))

    assert world.exists == {"first", "left", "right"}
    assert world.reported.message == "Image 42 is gone"


@pytest.mark.parametrize("fail_at", [None, "right"])
def test_a_kill_at_any_boundary_ends_as_without_it(tmp_path, fail_at):
    """Whatever boundary the process dies at, its successor reaches the same end."""
    wanted = set() if fail_at else set(STEPS)
    names = boundaries(tmp_path / "dry", World(fail_at=fail_at))
    assert len(names) >= 10
    for number, boundary in enumerate(names):
        directory = tmp_path / str(number)
        world = World()
        world.fail_at = fail_at
        kill_at(directory, world, boundary)

        engine = make_engine(directory, world)
        engine.resume()
        assert engine._queues.wait_idle(10)

        assert world.exists == wanted, boundary
        assert (world.reported is not None) == bool(fail_at), boundary
        assert list(directory.glob("*.journal")) == [], boundary


def test_a_finished_step_is_not_done_again_after_a_kill(tmp_path):
    """The successor asks the world about the step in doubt and repeats no other."""
    world = World()
    kill_at(tmp_path, world, "operate:last:begin")
    world.log.clear()

    engine = make_engine(tmp_path, world)
    engine.resume()
    assert engine._queues.wait_idle(10)

    assert world.log == ["do last"]


def test_a_step_is_told_whether_it_may_have_begun_before(tmp_path):
    """By this process, which tries it again, or by one that was killed in it."""
    world = World(fail_at="last", error=ControlPlaneUnavailable("no conductor"))
    engine = make_engine(tmp_path / "retried", world)
    engine.start(request(engine))
    while world.log.count("do last") < 3:
        threading.Event().wait(0.01)
    world.fail_at = None
    assert engine._queues.wait_idle(10)
    assert [told for step, told in world.repeated if step == "last"][:3] == [False, True, True]
    assert {told for step, told in world.repeated if step != "last"} == {False}

    world = World()
    kill_at(tmp_path / "killed", world, "operate:first:begin")
    engine = make_engine(tmp_path / "killed", world)
    engine.resume()
    assert engine._queues.wait_idle(10)
    assert world.repeated[0] == ("first", True)
    assert world.repeated[-1] == ("last", False)


def test_the_same_request_twice_has_one_effect(tmp_path):
    """A redelivered message is dropped, while the first runs and after it."""
    world = World()
    engine = make_engine(tmp_path, world)
    entry = request(engine)

    assert request(engine) is None
    engine.start(entry)
    assert engine._queues.wait_idle(10)
    assert request(engine) is None
    assert world.log.count("do first") == 1


def test_an_absent_control_plane_is_waited_for(tmp_path):
    """A step that meets no conductor is tried again, not failed."""
    world = World()
    world.fail_at, world.error = "last", ControlPlaneUnavailable("no conductor")
    engine = make_engine(tmp_path, world)
    entry = request(engine)
    engine.start(entry)
    while world.log.count("do last") < 3:
        threading.Event().wait(0.01)
    world.fail_at = None

    assert engine._queues.wait_idle(10)
    assert world.exists == set(STEPS)
    assert world.reported is None


def test_draining_stops_at_a_step_boundary(tmp_path):
    """An agent told to stop leaves the rest of the operation to its successor."""
    world = World()
    engine = None

    def observer(name):
        if name == "operate:first:end":
            engine._drain.set()

    engine = make_engine(tmp_path, world, observer)
    entry = request(engine)
    engine.start(entry)
    assert engine._drain.wait(10)
    assert engine.drain(10)
    assert world.exists == {"first"}

    successor = make_engine(tmp_path, world)
    assert successor.resume() == {"s1"}
    assert successor._queues.wait_idle(10)
    assert world.exists == set(STEPS)


def test_one_server_one_operation_at_a_time(tmp_path):
    """Requests on one server run in order; another server does not wait for them."""
    running, most = [], []

    def observer(name):
        if name.endswith(":accepted"):
            return
        if name == "operate:first:begin":
            running.append(1)
            most.append(len(running))
        if name == "operate:closed":
            running.pop()

    engine = make_engine(tmp_path, World(), observer)
    for number in range(5):
        engine.start(request(engine, number))

    assert engine._queues.wait_idle(10)
    assert max(most) == 1


def full_disk(monkeypatch, after):
    """From the ``after``-th line on (0: the intent itself) nothing more is written."""
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nova_lite.engine.entry.os.fsync", fsync)


def test_what_cannot_be_promised_ends_like_what_failed(tmp_path, monkeypatch):
    """A full disk: nothing is begun, and the operation itself tells the API."""
    world = World()
    engine = make_engine(tmp_path, world)
    full_disk(monkeypatch, 0)
    context = RequestContext({"request_id": "req-1"})
    arguments = {"instance": WireObject.new("Instance", "2.8", uuid="s1")}

    with pytest.raises(JournalError) as caught:
        engine.accept("operate", context, "s1", arguments)
    assert engine.refuse("operate", context, "s1", arguments, caught.value).result(10)

    assert world.log == []
    assert "No space left on device" in world.reported.message
    assert world.reported.verdict == Verdict.RESCHEDULE
    assert [name for name, _ in engine.seen_events] == ["start", "finish"]
    assert engine.accept("operate", context, "s1", arguments) is None, "a redelivery is dropped"


def test_a_refusal_while_the_agent_stops_is_left_to_the_next_one(tmp_path):
    """Nothing of it is on disk, so only the broker may keep it."""
    world = World()
    engine = make_engine(tmp_path, world)
    engine.drain(1)
    arguments = {"instance": WireObject.new("Instance", "2.8", uuid="s1")}

    assert not engine.refuse(
        "operate", RequestContext({"request_id": "r"}), "s1", arguments, JournalError("full")
    ).result(10)
    assert world.reported is None


@pytest.mark.parametrize("at", ["note", "mark"])
def test_a_disk_that_fills_up_in_the_middle(tmp_path, monkeypatch, at):
    """The operation fails, is taken back and told, though not a line of it can be written."""
    world = World()
    engine = make_engine(tmp_path, world)
    full_disk(monkeypatch, 2)
    entry = request(engine)
    world.notes = at == "note"
    if at == "mark":
        monkeypatch.setattr(entry, "mark", no_space(entry))

    engine.start(entry)
    assert engine._queues.wait_idle(10)

    assert world.exists == set()
    assert "No space left on device" in world.reported.message
    assert engine.seen_events[-1][0] == "finish"
    assert list(tmp_path.glob("*.journal")) == []


def no_space(entry):
    """``mark`` on a file that takes nothing more after the second step began."""
    original, count = entry.mark, []

    def mark(phase, step):
        count.append(phase)
        if len(count) > 3:
            with entry._lock:  # the steps of a stage mark at the same time
                entry._drop_file()
                entry._file = open("/dev/full", "w")
        original(phase, step)

    return mark


def delete(engine, server="s1"):
    """Ask for the urgent verb, which the engine of ``with_delete`` knows."""
    context = RequestContext({"request_id": "req-delete"})
    instance = WireObject.new("Instance", "2.8", uuid=server)
    entry = engine.accept("delete", context, server, {"instance": instance})
    engine.start(entry)


def with_delete(engine, world):
    """An engine with a second verb that is urgent and has one step, ``deleted``."""

    class Deleted(Step):
        name = "deleted"

        def do(self):
            world.exists.add("deleted")

    class Delete(Operation):
        event = "compute_delete"
        urgent = True

        def plan(self):
            return [(Deleted(self.work),)]

        def failed(self, failure):
            raise AssertionError(failure)

    engine._verbs["delete"] = Delete
    return engine


def test_an_urgent_operation_ends_the_one_that_runs(tmp_path):
    """The boot stops at its next boundary, is taken back, and the delete follows."""
    world = World()

    def observer(name):
        if name == "operate:first:end":
            delete(engine)

    engine = with_delete(make_engine(tmp_path, world, observer), world)
    run(engine)

    assert world.exists == {"deleted"}
    assert world.log == ["do first", "undo first"]
    assert world.reported.verdict == Verdict.GONE


def test_a_waiting_step_is_interrupted_by_an_urgent_operation(tmp_path):
    """It need not wait to its end; what it says then does not become a fault."""
    world = World()
    engine = with_delete(make_engine(tmp_path, world), world)
    waits = engine._verbs["operate"]
    waited = threading.Event()

    class Waits(waits):
        def plan(self):
            work = self.work

            class Wait(Step):
                name = "wait"

                def do(self):
                    waited.set()
                    assert work.cancelled.wait(10)
                    raise Interrupted

            return [*super().plan()[:-1], (Wait(work),), COMPLETE]

    engine._verbs["operate"] = Waits
    engine.start(request(engine))
    assert waited.wait(10)
    delete(engine)

    assert engine._queues.wait_idle(10)
    assert world.exists == {"deleted"}
    assert world.reported.verdict == Verdict.GONE


def test_a_boot_that_was_promised_before_its_delete_is_not_resumed(tmp_path):
    """Both journals are there after a kill: nothing is made of what is to be deleted."""
    world = World()
    first = with_delete(make_engine(tmp_path, world), world)
    request(first)
    context = RequestContext({"request_id": "req-delete"})
    instance = WireObject.new("Instance", "2.8", uuid="s1")
    first.accept("delete", context, "s1", {"instance": instance})

    engine = with_delete(make_engine(tmp_path, world), world)
    engine.resume()

    assert engine._queues.wait_idle(10)
    assert world.exists == {"deleted"}
    assert world.log == []


def test_a_lost_answer_is_not_asked_for_blindly(tmp_path):
    """A step whose call was carried out without an answer looks before it does it again."""

    class Lossy(set):
        def add(self, name):
            super().add(name)
            raise ControlPlaneUnavailable("no answer in time")

    world = World()
    world.exists = Lossy()
    run(make_engine(tmp_path, world))

    assert world.exists == set(STEPS)
    assert sorted(world.log) == sorted(f"do {name}" for name in STEPS)


def test_a_finished_request_is_known_to_the_next_process(tmp_path):
    """The message comes again after a restart, or the kill came just before the journal's end."""
    world = World()
    run(make_engine(tmp_path, world))
    world.log.clear()

    successor = make_engine(tmp_path, world)
    assert successor.resume() == set()
    assert request(successor) is None

    kept = successor._journal.open(
        {"request_id": "req-1", "method": "operate", "server": "s1", "context": {}, "arguments": {}}
    )
    assert make_engine(tmp_path, world).resume() == set()
    assert not kept.path.exists()
    assert world.log == []


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_guest_that_cannot_be_removed_goes_nowhere_else(tmp_path, exclusive):
    """Another host is not asked while this one may still run the server."""
    world = World()
    world.fail_at, world.error = "last", HypervisorError("QEMU exited")
    engine = make_engine(tmp_path, world)

    class Stays(engine._verbs["operate"]):
        def plan(self):
            class Stuck(Step):
                name = "stuck"

                def do(self):
                    pass

                def undo(self):
                    raise HypervisorError("the guest does not die")

            Stuck.exclusive = exclusive
            return [(Stuck(self.work),), *super().plan()]

    engine._verbs["operate"] = Stays
    run(engine)

    wanted = Verdict.ABORT if exclusive else Verdict.RESCHEDULE
    assert world.reported.verdict == wanted
    assert world.exists == set()
