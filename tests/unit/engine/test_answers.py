"""Operations that somebody waits for: the answer, the error, and what never gets to disk."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import ClassVar

import pytest

from nova_lite.engine.engine import Engine
from nova_lite.engine.journal import Journal
from nova_lite.engine.queues import Pool, ServerQueues
from nova_lite.errors import AnswerLost, GuestAgentNotEnabled
from nova_lite.failures import OperationFailed
from nova_lite.operations.base import Operation
from nova_lite.rpc.dispatch import Dispatcher, Route
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Step
from nova_lite.wire import exceptions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

UUID = "5e6a5a5c-7f5b-4f5c-9f0b-2f1d3c4b5a69"
SECRET = "correct horse"


class Ask(Step):
    """Remembers the secret that it was given; waits for ``go``, fails with ``error``."""

    name = "ask"
    go = threading.Event()
    error = None
    seen = None

    def do(self):
        assert self.go.wait(10)
        Ask.seen = self.work.arguments.get("secret")
        if self.error:
            raise self.error
        self.work.note(usage=WireObject.new("BlockDeviceMapping", "1.21", id=5).primitive)


class Inquiry(Operation):
    event = None
    answers = True
    secrets = ("secret",)

    def plan(self):
        return [(Ask(self.work),)]

    def answer(self):
        return self.work.notes["usage"]

    def failed(self, failure):
        pass


class Message:
    def __init__(self):
        arguments = {"instance": WireObject.new("Instance", "2.8", uuid=UUID).primitive}
        self.message = {"method": "inquire", "args": {**arguments, "secret": SECRET},
                        "version": "6.0"}  # fmt: skip
        self.ctxt = {"request_id": "req-1"}
        self.reply_q = "reply_1"
        self.acknowledged = False

    def acknowledge(self):
        self.acknowledged = True


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(Ask, "go", threading.Event())
    monkeypatch.setattr(Ask, "error", None)
    monkeypatch.setattr(Ask, "seen", None)


@pytest.fixture
def watched():
    """What the call monitor did."""
    return []


@pytest.fixture
def engine(tmp_path):
    return make_engine(tmp_path)


def make_engine(directory):
    journal = Journal(directory)
    journal.prepare()

    def work(context, arguments, entry):
        return Work(context, None, arguments["instance"], arguments, entry.notes, entry.note)

    def no_event(*arguments):
        raise AssertionError("this operation has no event")

    queues = ServerQueues({"short": Pool("short", 2)})
    return Engine(journal, queues, {"inquire": Inquiry}, work, no_event, no_event)


def dispatch(engine, watched):
    @contextlib.contextmanager
    def monitor(message):
        watched.append("begin")
        yield
        watched.append("end")

    routes = {"inquire": Route({"instance": WireObject}, operation="inquire", answers=True)}
    return Dispatcher(routes, {}, engine, None, monitor).dispatch(Message())


def test_the_caller_is_answered_when_the_operation_is_over(engine, watched):
    """Nobody blocks: the reply is a Future, and the monitor runs until it is there."""
    answer = dispatch(engine, watched)
    assert (answer.done(), watched) == (False, ["begin"])

    Ask.go.set()

    assert answer.result(10)["nova_object.data"] == {"id": 5}
    assert engine.settle(10)
    assert watched == ["begin", "end"]


def test_the_caller_gets_the_error_under_novas_name(engine, watched):
    """nova-api tells errors apart by their class."""
    Ask.go.set()
    Ask.error = GuestAgentNotEnabled(UUID)

    error = dispatch(engine, watched).exception(10)

    assert isinstance(error, OperationFailed)
    sent = exceptions.outgoing(error)
    assert (type(sent).__module__, type(sent).__name__) == (
        "nova.exception", "QemuGuestAgentNotEnabled",
    )  # fmt: skip
    assert sent.kwargs == {"code": 400}


def test_a_call_that_comes_again_meanwhile_gets_the_same_answer(engine, watched):
    """The broker may send it a second time while the first is worked on."""
    first, second = dispatch(engine, watched), dispatch(engine, watched)
    Ask.go.set()

    assert first.result(10) == second.result(10)


@pytest.mark.parametrize("error", [None, GuestAgentNotEnabled(UUID)])
def test_a_call_that_comes_again_afterwards_gets_the_same_answer(tmp_path, watched, error):
    """From this process, and from the next one; nothing is done twice."""
    Ask.go.set()
    Ask.error = error
    engine = make_engine(tmp_path)

    first = said(dispatch(engine, watched))
    assert engine.settle(10)
    Ask.seen = None

    for process in (engine, make_engine(tmp_path)):
        assert said(dispatch(process, watched)) == first
    assert Ask.seen is None


def said(answer):
    """What the caller gets."""
    error = answer.exception(10)
    return answer.result() if error is None else (error.nova_name, error.message, error.code)


def test_who_waits_gets_the_answer_of_the_next_process(tmp_path, watched):
    """The broker hands the call out again when the first process was killed."""
    dispatch(make_engine(tmp_path), watched)  # it never goes on

    successor = make_engine(tmp_path)
    successor.resume()
    answer = dispatch(successor, watched)
    Ask.go.set()

    assert answer.result(10)["nova_object.data"] == {"id": 5}
    assert list(tmp_path.glob("*.journal")) == []


class Unanswered(Inquiry):
    rolls_back_unanswered = True


def test_what_must_not_outlive_its_caller_is_finished_after_the_answer(tmp_path, watched):
    """Killed before the answer, the next process takes it back; afterwards it is over."""
    Ask.go.set()
    engine = make_engine(tmp_path)
    engine._verbs["inquire"] = Unanswered
    order = []
    engine.bus.subscribe(lambda event: order.append(event.moment.value))
    entry = engine.accept(
        "inquire", RequestContext({"request_id": "req-1"}), UUID,
        {"instance": WireObject.new("Instance", "2.8", uuid=UUID)},
    )  # fmt: skip
    entry.answer.add_done_callback(lambda _: order.append("answered"))
    engine.start(entry)
    assert engine.settle(10)

    assert order[-3:] == ["answered", "finished", "closed"]
    with pytest.raises(AnswerLost):
        dispatch(make_engine(tmp_path), watched).result(10)


def test_who_waits_hears_what_was_taken_back(tmp_path, watched):
    """Whether the call comes again before that is over, or afterwards."""
    Ask.go.set()
    Ask.error = AnswerLost("the agent was restarted: ask again")
    engine = make_engine(tmp_path)
    engine._verbs["inquire"] = Unanswered
    engine.accept(
        "inquire", RequestContext({"request_id": "req-1"}), UUID,
        {"instance": WireObject.new("Instance", "2.8", uuid=UUID)},
    )  # fmt: skip

    successor = make_engine(tmp_path)
    successor._verbs["inquire"] = Unanswered
    successor.resume()
    assert successor.settle(10)

    for process in (successor, make_engine(tmp_path)):
        assert "ask again" in str(dispatch(process, watched).exception(10))


def test_an_answer_that_an_older_agent_did_not_keep_is_lost(tmp_path, watched):
    """The caller is not told of success: what there was is not known any more."""
    (tmp_path / "finished").write_text(f'["req-1", "inquire", "{UUID}"]\n')

    with pytest.raises(AnswerLost, match="inquire"):
        dispatch(make_engine(tmp_path), watched).result(10)


def test_an_answer_is_on_disk_before_the_caller_has_it(engine, watched, tmp_path):
    """A process that is killed then leaves a successor who says the same."""
    kept = []
    answer = dispatch(engine, watched)
    answer.add_done_callback(lambda _: kept.append((tmp_path / "finished").read_text()))
    Ask.go.set()
    answer.result(10)
    assert engine.settle(10)

    assert '"id": 5' in kept[0]


def test_a_secret_is_used_but_never_written(engine, watched, tmp_path):
    """The journal has the arguments of an open operation, but this one."""
    answer = dispatch(engine, watched)
    (journal,) = tmp_path.glob("*.journal")
    assert SECRET not in journal.read_text()
    Ask.go.set()
    answer.result(10)

    assert Ask.seen == SECRET


def test_the_way_to_a_volume_is_used_but_never_written(engine, tmp_path):
    """Whatever argument has it: it may hold a password of the storage."""
    mapping = WireObject.new(
        "BlockDeviceMapping", "1.21", volume_id="v1", connection_info=f'{{"chap": "{SECRET}"}}'
    )
    mappings = WireObject.new("BlockDeviceMappingList", "1.18", objects=[mapping.primitive])
    arguments = {
        "instance": WireObject.new("Instance", "2.8", uuid=UUID), "bdm": mapping, "bdms": mappings,
    }  # fmt: skip
    entry = engine.accept("inquire", RequestContext({"request_id": "req-1"}), UUID, arguments)
    (journal,) = tmp_path.glob("*.journal")
    used = {**entry.intent["arguments"], **entry.secrets}

    assert SECRET not in journal.read_text() and '"v1"' in journal.read_text()
    assert SECRET in used["bdm"]["connection_info"]
    assert [SECRET in each["connection_info"] for each in used["bdms"].objects()] == [True]


def test_a_resumed_operation_goes_on_without_its_secret(tmp_path):
    """It has to do with what there is."""
    engine = make_engine(tmp_path)
    arguments = {"instance": WireObject.new("Instance", "2.8", uuid=UUID), "secret": SECRET}
    engine.accept("inquire", RequestContext({"request_id": "req-1"}), UUID, arguments)

    successor = make_engine(tmp_path)
    Ask.go.set()
    assert successor.resume() == {UUID}
    assert successor.settle(10)

    assert Ask.seen is None
    assert list(tmp_path.glob("*.journal")) == []


def accepted(engine, verb, seconds):
    """An operation whose caller waits for so long."""
    engine._verbs["inquire"] = verb
    entry = engine.accept(
        "inquire", RequestContext({"request_id": "req-1"}), UUID,
        {"instance": WireObject.new("Instance", "2.8", uuid=UUID)},
    )  # fmt: skip
    entry.caller_waits_until = time.monotonic() + seconds
    return entry


def test_what_a_caller_has_given_up_on_is_not_begun(engine):
    """The server was busy for longer than the caller waits."""
    Ask.go.set()
    entry = accepted(engine, Inquiry, 0.05)
    busy = threading.Event()
    engine.after(UUID, "something else", lambda: busy.wait(10))
    engine.start(entry)
    time.sleep(0.06)
    busy.set()
    assert engine.settle(10)

    assert said(entry.answer)[:2] == (
        "NovaException", "The caller of inquire has given up waiting: it has no effect"
    )  # fmt: skip
    assert "ask" not in entry.begun


class TakenBack(Unanswered):
    undone: ClassVar[list[str]] = []

    def plan(self):
        step = Ask(self.work)
        step.undo = lambda: self.undone.append("ask")
        return [(step,), COMPLETE]


@pytest.mark.parametrize("verb", [Inquiry, TakenBack])
def test_what_ends_too_late_is_taken_back_where_that_is_better(engine, verb, monkeypatch):
    """A guest that stays frozen, or a mapping that nobody knows of."""
    monkeypatch.setattr(TakenBack, "undone", [])
    entry = accepted(engine, verb, 0.05)
    engine.start(entry)
    time.sleep(0.06)
    Ask.go.set()
    assert engine.settle(10)

    assert TakenBack.undone == (["ask"] if verb is TakenBack else [])
    assert (entry.answer.exception(10) is None) is (verb is Inquiry)
