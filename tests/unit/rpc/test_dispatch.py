"""Messages, good and bad, end in the right place."""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    AnswerLost,
    AttachInterfaceUnsupported,
    ConsoleNotAvailable,
    JournalError,
    MalformedMessage,
)
from nova_lite.rpc.dispatch import Dispatcher, NotNow, Route, Unsupported
from nova_lite.wire import exceptions
from nova_lite.wire.objects import WireObject

UUID = "5e6a5a5c-7f5b-4f5c-9f0b-2f1d3c4b5a69"
INSTANCE = WireObject.new("Instance", "2.8", uuid=UUID).primitive


class Message:
    """An incoming message as oslo.messaging hands it over."""

    def __init__(self, method, args=None, *, version="6.0", namespace=None, call=True):
        self.message = {"method": method, "args": args or {}, "version": version}
        if namespace:
            self.message["namespace"] = namespace
        self.ctxt = {"request_id": "req-1"}
        self.msg_id = "m1"  # casts get one, too
        self.reply_q = "reply_1" if call else None
        self.client_timeout = None
        self.can_wait = True
        self.acknowledged = 0

    def acknowledge(self):
        self.acknowledged += 1


class Promised(str):
    """Stands for the entry of an operation, and is the name of its verb."""

    caller_waits_until = None

    def __init__(self, *unused):
        self.answer = Future()


class FakeEngine:
    def __init__(self):
        self.accepted, self.started, self.error = [], [], None
        self.refused, self.stopping = [], False
        self.message = None
        self.known = {}

    def accept(self, verb, context, uuid, arguments):
        if self.error:
            raise self.error
        assert self.message is None or not self.message.acknowledged
        if verb in self.known:
            return None
        self.accepted.append((verb, uuid))
        return Promised(verb)

    def promised(self, verb, context, uuid, arguments):
        return verb in self.known

    def answer_to(self, verb, context, uuid, arguments):
        return self.known[verb]

    def refuse(self, verb, context, uuid, arguments, error):
        self.refused.append((verb, uuid, error))
        over = Future()
        over.set_result(not self.stopping)
        return over

    def start(self, entry):
        self.started.append(entry)


def fail(context, **arguments):
    raise ConsoleNotAvailable("no console")


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def dispatcher(engine, reports):
    routes = {
        "stop_instance": Route({"instance": WireObject}, operation="stop_instance"),
        "reboot_instance": Route(
            {"instance": WireObject, "reboot_type": str}, operation="reboot_instance"
        ),
        "build_and_run_instance": Route(
            {"instance": WireObject, "requested_networks": WireObject | None},
            operation="build_and_run_instance",
        ),
        "set_admin_password": Route(
            {"instance": WireObject, "new_pass": str},
            operation="set_admin_password",
            answers=True,
            task_state=True,
        ),
        "get_host_uptime": Route(handler=lambda context: "up"),
        "get_console_output": Route(handler=fail),
        "get_vnc_console": Route(handler=lambda context, console_type: console_type + 1),
        "pause_instance": Route(),
    }
    base = {"ping": Route(handler=lambda context, arg: arg)}
    return Dispatcher(
        routes,
        base,
        engine,
        lambda context, instance, method, failure: reports.append((instance["uuid"], failure)),
        lambda message: contextlib.nullcontext(),
    )


def test_an_operation_is_promised_before_the_message_is_acknowledged(dispatcher, engine):
    """A process killed in between gets the message again instead of losing it."""
    message = engine.message = Message("stop_instance", {"instance": INSTANCE}, call=False)

    dispatcher.dispatch(message)

    assert engine.accepted == [("stop_instance", UUID)]
    assert engine.started == ["stop_instance"]
    assert message.acknowledged == 1


@pytest.mark.parametrize(
    ("call", "can_wait", "acknowledged"), [(True, True, 0), (True, False, 1), (False, True, 1)]
)
def test_the_broker_keeps_a_call_until_it_is_answered(dispatcher, call, can_wait, acknowledged):
    """Where that keeps no other from coming: the next process is told who waits."""
    message = Message("set_admin_password", {"instance": INSTANCE, "new_pass": "p"}, call=call)
    message.can_wait = can_wait

    dispatcher.dispatch(message)

    assert message.acknowledged == acknowledged


def test_a_call_is_answered(dispatcher):
    """Handlers' results are the reply; baseapi is its own namespace."""
    assert dispatcher.dispatch(Message("get_host_uptime")) == "up"
    assert dispatcher.dispatch(Message("ping", {"arg": 1}, namespace="baseapi")) == 1


def test_a_future_minor_version_is_taken(dispatcher):
    """6.x of a later release only adds arguments."""
    assert dispatcher.dispatch(Message("get_host_uptime", version="6.17")) == "up"


def instance(version="2.8", **fields):
    return WireObject.new("Instance", version, **fields).primitive


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (Message("get_host_uptime", version="5.13"), r"upgrade_levels"),
        (Message("get_host_uptime", version="7.0"), r"version 7.0; this agent speaks 6.x"),
        (Message("get_host_uptime", version="six"), r"version six"),
        (Message("get_host_uptime", namespace="cells"), "unknown RPC namespace 'cells'"),
        (Message("get_host_uptime", namespace=["a"]), "unknown RPC namespace"),
        (Message("make_coffee"), "unknown RPC method 'make_coffee'"),
        (Message("stop_instance", {}), "lacks its argument 'instance'"),
        (Message("stop_instance", [1]), "no argument dictionary"),
        (Message("stop_instance", {"instance": "s1"}), "is a str, not a WireObject"),
        (Message("stop_instance", {"instance": instance()}), "has no uuid"),
        (Message("stop_instance", {"instance": instance(uuid=5)}), "has no uuid"),
        (Message("stop_instance", {"instance": instance(uuid="../etc")}), "has no uuid"),
        (Message("stop_instance", {"instance": instance("3.0", uuid=UUID)}), r"Instance 3.0.*2.x"),
        (Message("stop_instance", {"instance": {"nova_object.name": 1}}), "not a Nova object"),
        (Message("get_host_uptime", {"wrong": 1}), "wrong arguments"),
        (Message("get_console_output", {"instance": 7}), "'instance' is a int"),
        (Message("reboot_instance", {"instance": INSTANCE, "reboot_type": 1}), "'reboot_type'"),
    ],
)
def test_malformed_messages_are_refused_by_name(dispatcher, engine, message, match):
    """The caller gets an error that names what is wrong, and nothing is begun."""
    with pytest.raises(MalformedMessage, match=match):
        dispatcher.dispatch(message)

    assert engine.accepted == []


def test_objects_of_the_future_are_taken(dispatcher, engine):
    """A later minor version only adds fields."""
    future = instance("2.99", uuid=UUID, colour="green")

    dispatcher.dispatch(Message("stop_instance", {"instance": future}, call=False))

    assert engine.accepted == [("stop_instance", UUID)]


@pytest.mark.parametrize("networks", [None, WireObject.new("NetworkRequestList", "1.1").primitive])
def test_a_boot_may_say_nothing_of_networks(dispatcher, engine, networks):
    """What a user of an old API version asks for: null, but the argument is there."""
    request = {"instance": INSTANCE, "requested_networks": networks}

    dispatcher.dispatch(Message("build_and_run_instance", request, call=False))

    assert engine.accepted == [("build_and_run_instance", UUID)]


def test_networks_of_another_kind_are_refused(dispatcher, engine):
    """Null is not a licence for anything else, nor for leaving it out."""
    for request in ({"requested_networks": "private"}, {}):
        message = Message("build_and_run_instance", {"instance": INSTANCE, **request})
        with pytest.raises(MalformedMessage, match="requested_networks"):
            dispatcher.dispatch(message)

    assert engine.accepted == []


def test_a_method_that_is_not_there_yet_answers_not_implemented(dispatcher):
    """The API turns NotImplementedError into HTTP 501."""
    with pytest.raises(Unsupported) as caught:
        dispatcher.dispatch(Message("pause_instance", {"instance": INSTANCE}))

    sent = exceptions.outgoing(caught.value)
    assert (type(sent).__module__, type(sent).__name__) == ("builtins", "NotImplementedError")


def test_a_refused_cast_is_told_to_the_user(dispatcher, reports):
    """Nobody waits for a cast: fault and action event say why."""
    with pytest.raises(Unsupported):
        dispatcher.dispatch(Message("pause_instance", {"instance": INSTANCE}, call=False))

    ((uuid, failure),) = reports
    assert (uuid, failure.code) == (UUID, 501)
    assert "pause_instance" in failure.message


def test_a_refused_call_clears_the_task_state_that_the_api_has_set(dispatcher, reports):
    """The caller gets the error, and leaves the task state to this host; other calls have none."""
    arguments = {"instance": INSTANCE, "new_pass": 5}
    for method in ("set_admin_password", "pause_instance"):
        with pytest.raises((MalformedMessage, Unsupported)):
            dispatcher.dispatch(Message(method, arguments))

    assert [UUID] == [uuid for uuid, _ in reports]


def test_a_full_disk_hands_the_operation_back(dispatcher, engine):
    """What cannot be journalled is not begun; the operation itself says who is told."""
    engine.error = JournalError("cannot write the journal /x: no space")
    message = Message("stop_instance", {"instance": INSTANCE}, call=False)

    with pytest.raises(JournalError):
        dispatcher.dispatch(message).result(5)

    assert engine.started == []
    assert engine.refused == [("stop_instance", UUID, engine.error)]


def test_an_agent_that_stops_on_a_full_disk_leaves_the_message_to_the_broker(dispatcher, engine):
    """Neither promised nor reported: acknowledged, it would be lost."""
    engine.error, engine.stopping = JournalError("full"), True
    message = Message("stop_instance", {"instance": INSTANCE}, call=False)

    with pytest.raises(NotNow):
        dispatcher.dispatch(message).result(5)

    assert message.acknowledged == 0


def test_errors_leave_under_names_that_nova_api_knows(dispatcher):
    """Any other module than nova.exception would be HTTP 500."""
    with pytest.raises(ConsoleNotAvailable) as caught:
        dispatcher.dispatch(Message("get_console_output"))

    sent = exceptions.outgoing(caught.value)
    assert (type(sent).__module__, type(sent).__name__) == ("nova.exception", "ConsoleNotAvailable")
    assert sent.kwargs == {"code": 404}


def test_a_mistake_of_ours_is_not_called_the_senders(dispatcher, caplog):
    """A TypeError in the middle of a handler says nothing of the arguments."""
    with pytest.raises(TypeError):
        dispatcher.dispatch(Message("get_vnc_console", {"console_type": "novnc"}))

    assert "Traceback" in caplog.text


def test_a_surprise_tells_no_secret():
    """The text of an unexpected exception stays in the log."""
    sent = exceptions.outgoing(RuntimeError("password=hunter2"))

    assert "hunter2" not in str(sent)
    assert type(sent).__name__ == "NovaException"


class Hanging:
    """Handlers of which the ones wait, and what they all have done."""

    def __init__(self):
        self.release, self.hung, self.events = threading.Event(), threading.Semaphore(0), 0

    def hang(self, context):
        self.hung.release()
        assert self.release.wait(30)
        return "at last"

    def event(self, context):
        self.events += 1


@pytest.fixture
def hanging():
    made = Hanging()
    yield made
    made.release.set()


@pytest.fixture
def hung(engine, hanging):
    """A dispatcher all of whose workers for handlers hang."""
    pool = Pool("handlers", 2)
    routes = {
        "get_diagnostics": Route(handler=hanging.hang),
        "external_instance_event": Route(handler=hanging.event, prompt=True),
        "stop_instance": Route(operation="stop_instance"),
    }
    base = {"ping": Route(handler=lambda context, arg: arg, prompt=True)}
    made = Dispatcher(routes, base, engine, None, lambda m: contextlib.nullcontext(), pool)
    answers = [made.dispatch(Message("get_diagnostics")) for _ in range(2)]
    assert all(hanging.hung.acquire(timeout=5) for _ in answers)
    return made, pool, answers


def test_handlers_that_hang_do_not_make_the_agent_deaf(hung, engine, hanging):
    """Operations are promised, events taken in and pings answered all the same."""
    dispatcher, _, _ = hung

    dispatcher.dispatch(Message("stop_instance", {"instance": INSTANCE}, call=False))
    assert engine.accepted == [("stop_instance", UUID)]
    assert dispatcher.dispatch(Message("ping", {"arg": 1}, namespace="baseapi")) == 1
    dispatcher.dispatch(Message("external_instance_event", call=False))
    assert hanging.events == 1


def test_handlers_that_hang_are_replaced(hung, hanging):
    """The next call is answered, and the ones that hung, too, when they come back."""
    dispatcher, pool, answers = hung
    third = dispatcher.dispatch(Message("get_diagnostics"))
    assert not hanging.hung.acquire(timeout=0.1)

    assert len(pool.replace_stuck(0.0)) == 2

    assert hanging.hung.acquire(timeout=5)
    hanging.release.set()
    assert [answer.result(5) for answer in (*answers, third)] == ["at last"] * 3


def test_an_error_of_a_handler_reaches_the_caller(engine):
    """From whichever thread."""
    routes = {"get_console_output": Route(handler=fail)}
    dispatcher = Dispatcher(
        routes, {}, engine, None, lambda m: contextlib.nullcontext(), Pool("handlers", 1)
    )

    with pytest.raises(ConsoleNotAvailable):
        dispatcher.dispatch(Message("get_console_output")).result(5)


def test_an_event_is_acknowledged_after_it_was_taken_in(engine):
    """What it begins is in the journal by then: an extended volume is not forgotten."""
    seen = []
    message = Message("external_instance_event", call=False)
    routes = {
        "external_instance_event": Route(
            handler=lambda context: seen.append(message.acknowledged), prompt=True
        )
    }
    Dispatcher(
        routes, {}, engine, None, lambda m: contextlib.nullcontext(), Pool("handlers", 1)
    ).dispatch(message)

    assert seen == [0]


def late(message, *, monitored=True):
    """As the listener hands over a call that waited at the broker for longer than its caller."""
    sent = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=100)
    message.ctxt["timestamp"] = sent.replace(tzinfo=None).isoformat()
    message.received, message.limit, message.may_have_waited = time.monotonic(), 1800.0, True
    message.client_timeout = 60 if monitored else None
    return message


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("set_admin_password", {"instance": INSTANCE, "new_pass": "p"}),
        ("get_host_uptime", {}),
    ],
)
def test_a_call_whose_caller_has_given_up_has_no_effect(dispatcher, engine, method, arguments):
    """The agent was away, and nova-api has told its user of an error."""
    with pytest.raises(AnswerLost, match="given up"):
        dispatcher.dispatch(late(Message(method, arguments)))

    assert engine.accepted == []


def test_a_task_state_that_the_caller_has_left_goes(dispatcher, reports):
    """nova-api does not clear it when it gives up."""
    with pytest.raises(AnswerLost):
        dispatcher.dispatch(
            late(Message("set_admin_password", {"instance": INSTANCE, "new_pass": "p"}))
        )

    ((uuid, failure),) = reports
    assert (uuid, failure.nova_name) == (UUID, "NovaException")


def test_a_call_that_comes_again_is_not_refused(dispatcher, engine, reports):
    """It was promised; an agent that was killed goes on with it, and whoever waits may hear."""
    answer = engine.known["set_admin_password"] = Future()

    told = dispatcher.dispatch(
        late(Message("set_admin_password", {"instance": INSTANCE, "new_pass": "p"}))
    )

    assert (told, reports, engine.accepted) == (answer, [], [])


def test_a_cast_has_nobody_who_could_give_up(dispatcher, engine):
    """It is carried out however late it comes."""
    dispatcher.dispatch(late(Message("stop_instance", {"instance": INSTANCE}, call=False)))

    assert engine.started == ["stop_instance"]


def test_an_operation_learns_how_long_its_caller_waits(dispatcher, engine):
    """It may have to wait behind what the server is doing."""
    message = late(Message("set_admin_password", {"instance": INSTANCE, "new_pass": "p"}))
    message.client_timeout, message.limit = None, 60.0
    engine.answer = Future()
    engine.accept = lambda *arguments: entry
    entry = SimpleNamespace(answer=Future())

    dispatcher.dispatch(message)

    assert entry.caller_waits_until == message.received + 60.0


def test_a_handler_that_waited_for_a_worker_asks_again(engine, reports):
    """All of them were busy for longer than the caller waits."""
    done = []
    routes = {"get_console_output": Route(handler=lambda context: done.append("read"))}
    pool = SimpleNamespace(submit=lambda label, job: jobs.append(job))
    jobs = []
    dispatcher = Dispatcher(
        routes, {}, engine, None, lambda message: contextlib.nullcontext(), pool
    )
    message = late(Message("get_console_output"), monitored=False)
    message.limit = 0.05

    answer = dispatcher.dispatch(message)
    time.sleep(0.06)
    jobs[0]()

    assert isinstance(answer.exception(), AnswerLost)
    assert done == []


def test_a_refusal_is_no_error_in_the_log(engine, reports, caplog):
    """Nothing went wrong on this host."""
    routes = {"attach_interface": Route(unsupported=AttachInterfaceUnsupported)}
    dispatcher = Dispatcher(routes, {}, engine, None, None)

    with pytest.raises(AttachInterfaceUnsupported):
        dispatcher.dispatch(Message("attach_interface", {"instance": INSTANCE}))

    assert "Refused message attach_interface" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]
