"""One operation, carried out: its point of no return, and whatever goes wrong in telling of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    CredentialsInvalid,
    HypervisorError,
    ImageNotFound,
    PlacementError,
    ServerNotFound,
    Verdict,
)
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, NoWayBack, Step
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.unit.engine.toys import (
    STEPS,
    World,
    arguments,
    kill_at,
    make_engine,
    make_operation,
    request,
    resume,
    run,
)

BROKEN = [
    PlacementError("Placement answered 500"),
    CredentialsInvalid("[placement] is refused"),
    RuntimeError("a bug"),
]


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)


@pytest.mark.parametrize("error", BROKEN)
def test_whatever_telling_meets_the_operation_ends(tmp_path, error):
    """Its event is finished, its server is left in a state to act on, its entry is closed."""
    world = World(fail_at="last", failed_error=error)
    engine = make_engine(tmp_path, world)

    run(engine)

    assert world.abandoned.message == "Image 42 is gone"
    assert engine.seen_events[-1] == ("finish", world.abandoned)
    assert list(tmp_path.glob("*.journal")) == []
    assert request(engine) is None


@pytest.mark.parametrize("error", BROKEN)
def test_even_if_nobody_can_be_told(tmp_path, error, monkeypatch):
    """Nothing of it stays behind that would keep the server's next operation waiting."""
    world = World(fail_at="last", failed_error=error)
    engine = make_engine(tmp_path, world)

    def fail(*arguments):
        raise error

    monkeypatch.setattr(engine._verbs["operate"], "abandon", fail)
    engine._around = SimpleNamespace(**{**vars(engine._around), "finish_event": fail})
    run(engine)

    assert list(tmp_path.glob("*.journal")) == []
    assert not engine.busy("s1")


def test_up_to_the_point_of_no_return_it_is_taken_back(tmp_path):
    """What fails before it leaves nothing."""
    world = World(end=NoWayBack("because"), after=("final",), fail_at="last")
    run(make_engine(tmp_path, world))

    assert world.exists == set()
    assert not world.past_return


def test_past_the_point_of_no_return_nothing_is_taken_back(tmp_path):
    """The operation knows, and may complete what it can."""
    world = World(end=NoWayBack("because"), after=("final",), fail_at="final")
    run(make_engine(tmp_path, world))

    assert world.exists == set(STEPS)
    assert world.past_return and world.reported is not None


def test_a_plan_that_names_no_such_point_is_never_taken_back(tmp_path):
    """What it has touched was there before."""
    world = World(end=None, fail_at="last")
    run(make_engine(tmp_path, world))

    assert world.exists == {"first", "left", "right"}


@pytest.mark.parametrize("boundary", ["operate:no_way_back", "operate:final:begin"])
def test_a_kill_there_does_not_forget_it(tmp_path, boundary):
    """It is on disk before anything after it begins."""
    world = World(end=NoWayBack("because"), after=("final",))
    kill_at(tmp_path, world, boundary)
    world.fail_at = "final"

    resume(tmp_path, world)

    assert world.exists == set(STEPS)


@pytest.mark.parametrize("passed", [True, False])
def test_the_world_says_whether_it_was_passed(tmp_path, passed):
    """The step before it failed, and may have come true all the same: an answer got lost."""
    world = World(end=NoWayBack("it moved", lambda: passed), after=("final",), fail_at="last")
    run(make_engine(tmp_path, world))

    assert world.exists == ({"first", "left", "right"} if passed else set())
    assert world.past_return == passed


def test_the_world_is_not_asked_before_the_step_in_question(tmp_path):
    """It may look as if it had been passed for another reason."""
    world = World(end=NoWayBack("it moved", lambda: True), fail_at="left")
    run(make_engine(tmp_path, world))

    assert world.exists == set()


def test_where_the_world_cannot_be_asked_it_is_taken_back(tmp_path):
    """As if it had not been passed; the log says that nobody knows."""

    def fail():
        raise HypervisorError("no answer")

    world = World(end=NoWayBack("it moved", fail), fail_at="last")
    run(make_engine(tmp_path, world))

    assert world.exists == set()
    assert world.reported is not None


def test_what_counts_as_done_is_told_as_done(tmp_path):
    """The last step failed, but its user has what was asked for."""
    world = World(end=NoWayBack("active", lambda: True), succeeded=True, fail_at="last")
    engine = make_engine(tmp_path, world)
    run(engine)

    assert world.reported is None
    assert engine.seen_events[-1] == ("finish", None)


def test_what_could_not_be_taken_back_is_named(tmp_path):
    """The operation decides what becomes of it."""
    world = World(fail_at="last")
    engine = make_engine(tmp_path, world)

    class Stays(engine._verbs["operate"]):
        def plan(self):
            return [(Stuck(self.work),), *super().plan()]

    class Stuck(Step):
        name = "stuck"

        def do(self):
            pass

        def undo(self):
            raise HypervisorError("the guest does not die")

    engine._verbs["operate"] = Stays
    run(engine)

    assert world.left == {"stuck"}


def test_a_plan_that_cannot_be_made_again_does_not_keep_it_from_ending(tmp_path, caplog):
    """A mistake of ours; the API is told, no other host is asked, and the log says what is left."""
    world = World(fail_at="last", error=HypervisorError("no memory"))
    verb = make_operation(world)
    plans = []

    def plan(self, original=verb.plan):
        plans.append(1)
        if len(plans) > 1:
            raise KeyError("bdm")
        return original(self)

    verb.plan = plan
    run(make_engine(tmp_path, world, verbs={"operate": verb}))

    assert (world.reported.message, world.reported.verdict) == ("no memory", Verdict.ABORT)
    assert "Nothing of it was taken back" in caplog.text
    assert list(tmp_path.glob("*.journal")) == []


def test_an_answer_that_cannot_be_kept_is_a_failure(tmp_path):
    """It shows before the caller is told of success."""
    world = World()
    verb = make_operation(world)
    verb.answers, verb.answer = True, lambda self: object()

    entry = run(make_engine(tmp_path, world, verbs={"operate": verb}))

    assert world.exists == set()
    assert "TypeError" in entry.answer.exception(5).message


def test_an_operation_that_nobody_can_make_is_set_aside(tmp_path, caplog):
    """An entry that an older agent wrote, or that is damaged in a way that shows only here."""
    verb = make_operation(World())
    request(make_engine(tmp_path, World()))

    def fail(self, work):
        raise KeyError("bdm")

    verb.__init__ = fail
    engine = make_engine(tmp_path, World(), verbs={"operate": verb})
    engine.resume()
    assert engine.settle(5)

    assert list(tmp_path.glob("*.journal")) == []
    assert len(list((tmp_path / "set-aside").iterdir())) == 1
    assert "bdm" in caplog.text


def test_an_unknown_verb_is_set_aside(tmp_path, caplog):
    """A newer agent was here: its operation waits for it beside, and the others go on."""
    world = World()
    first = make_engine(tmp_path, world)
    request(first, 1)
    first._journal.open({"request_id": "r", "method": "fly", "server": "s2", "context": {},
                         "arguments": {}})  # fmt: skip

    engine = resume(tmp_path, world)

    assert world.exists == set(STEPS)
    assert not engine.busy("s2")
    assert "unknown operation 'fly'" in caplog.text
    assert len(list((tmp_path / "set-aside").iterdir())) == 1


class Records:
    """The conductor, as far as ``abandon`` needs it."""

    def __init__(self, **record):
        self.record, self.faults, self.gone = {"host": "host1", **record}, [], False

    def get(self, context, uuid):
        if self.gone:
            raise ServerNotFound("gone")
        found = WireObject.new("Instance", "2.8", uuid=uuid, **self.record)
        found.clear_changes()
        return found

    def save(self, context, instance, **fields):
        self.record.update(fields)

    def fault(self, context, uuid, failure):
        self.faults.append(failure.message)


class Verb(Operation):
    event = None

    def plan(self):
        return [COMPLETE]

    def failed(self, failure):
        raise AssertionError


def abandon(verb, records):
    tools = SimpleNamespace(instances=records, actions=records, host="host1")
    work = Work(RequestContext.admin(), tools, arguments()["instance"], {}, {}, lambda **v: None)
    verb(work).abandon(Failure.of(ImageNotFound("Image 42 is gone")))
    record = records.record
    return record.get("vm_state"), record.get("task_state"), records.faults


class Snapshotting(Verb):
    last_resort = {"task_state": None}


class Attaching(Verb):
    last_resort = {}


class Deleting(Verb):
    urgent = True


FAULT = ["Image 42 is gone"]


@pytest.mark.parametrize(
    ("verb", "record", "left"),
    [
        (Verb, {"vm_state": "building", "task_state": "spawning"}, ("error", None, FAULT)),
        (Verb, {"vm_state": "building", "task_state": None}, ("error", None, FAULT)),
        (Verb, {"vm_state": "building", "task_state": "spawning", "host": None},
         ("error", None, FAULT)),
        (Verb, {"vm_state": "error", "task_state": None}, ("error", None, [])),
        (Verb, {"vm_state": "active", "task_state": None}, ("active", None, [])),
        (Verb, {"vm_state": "building", "task_state": "spawning", "host": "host2"},
         ("building", "spawning", [])),
        (Verb, {"vm_state": "building", "task_state": "deleting"}, ("building", "deleting", [])),
        (Deleting, {"vm_state": "active", "task_state": "deleting"}, ("error", None, FAULT)),
        (Snapshotting, {"vm_state": "active", "task_state": "image_uploading"},
         ("active", None, FAULT)),
        (Attaching, {"vm_state": "active", "task_state": "rebooting"},
         ("active", "rebooting", FAULT)),
    ],
)  # fmt: skip
def test_the_last_resort(verb, record, left):
    """A fault and a state to act on; nothing where it was told, or is another host's server."""
    assert abandon(verb, Records(**record)) == left


def test_the_last_resort_of_a_server_that_is_gone():
    """There is nobody to tell."""
    records = Records(vm_state="building", task_state="spawning")
    records.gone = True

    assert abandon(Verb, records) == ("building", "spawning", [])


def test_a_verdict_is_kept_where_nothing_exclusive_is_left(tmp_path):
    """Another host may do better."""
    world = World(fail_at="last", error=HypervisorError("no memory"))
    run(make_engine(tmp_path, world))

    assert world.reported.verdict is Verdict.RESCHEDULE
