"""When the broker may forget a message."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from nova_lite.errors import ControlPlaneUnavailable, InvalidConfiguration, JournalError
from nova_lite.rpc import server
from nova_lite.rpc.dispatch import NotNow
from nova_lite.rpc.listener import Listener
from nova_lite.rpc.server import CallMonitor, ComputeServer, _not_listening
from nova_lite.wire.objects import WireObject
from nova_lite.wire.outgoing import Outgoing


class RawMessage(dict):
    """A message as the driver's connection hands it over."""

    def __init__(self, unique_id, **fields):
        super().__init__(_unique_id=unique_id, method="ping", **fields)
        self.acknowledged = 0
        self.error = None

    def acknowledge(self):
        self.acknowledged += 1
        if self.error:
            raise self.error


class Driver:
    prefetch_size = 0


class Connection:
    """Delivers what a test puts into ``deliver`` when the listener polls."""

    def __init__(self):
        self.deliver = []
        self.listener = None

    def consume(self, timeout=None):
        while self.deliver:
            self.listener(self.deliver.pop(0))


@pytest.fixture
def connection():
    return Connection()


@pytest.fixture
def listener(connection):
    connection.listener = Listener(Driver(), connection)
    return connection.listener


def receive(listener, connection, *messages):
    connection.deliver.extend(messages)
    return [incoming for _ in messages for incoming in listener.poll(timeout=0.05)]


def test_a_message_stays_the_brokers_until_it_is_acknowledged(listener, connection):
    """Receiving it is no promise: a process killed now gets it again."""
    raw = RawMessage("u1")

    (incoming,) = receive(listener, connection, raw)
    receive(listener, connection)
    assert raw.acknowledged == 0

    incoming.acknowledge()
    listener.poll(timeout=0.01)
    assert raw.acknowledged == 1


@pytest.mark.parametrize(("prefetch", "can_wait"), [(0, True), (1, False)])
def test_a_broker_with_a_limit_waits_for_acknowledgements(connection, prefetch, can_wait):
    """What an operation waits for may be in a message that does not come before."""
    driver = Driver()
    driver.prefetch_size = prefetch
    connection.listener = Listener(driver, connection)
    (incoming,) = receive(connection.listener, connection, RawMessage("u1"))

    assert incoming.can_wait == can_wait


def test_acknowledged_exactly_once(listener, connection):
    """The broker closes the channel of a consumer that acknowledges twice."""
    raw = RawMessage("u1")
    (incoming,) = receive(listener, connection, raw)

    incoming.acknowledge()
    incoming.acknowledge()
    listener.poll(timeout=0.01)

    assert raw.acknowledged == 1


def test_an_acknowledgement_that_was_lost_is_given_again(listener, connection):
    """The message comes again after a broken connection: no second effect, and rid of it."""
    first, again = RawMessage("u1"), RawMessage("u1")
    first.error = ConnectionResetError()
    (incoming,) = receive(listener, connection, first)
    incoming.acknowledge()
    listener.poll(timeout=0.01)

    assert receive(listener, connection, again) == []
    assert again.acknowledged == 1


def test_a_message_that_was_not_acknowledged_comes_again(listener, connection):
    """Nothing was promised the first time."""
    receive(listener, connection, RawMessage("u1"))

    assert len(receive(listener, connection, RawMessage("u1"))) == 1


def over(channel, **properties):
    """A message as a channel of a connection delivers it."""
    raw = RawMessage(f"u-{id(channel)}-{len(properties)}")
    raw._raw_message = SimpleNamespace(channel=channel, properties=properties)
    return raw


def test_a_message_says_how_long_its_caller_waits(listener, connection):
    """oslo.messaging makes the timeout of a call the message's time to live; a cast has none."""
    call, cast = receive(
        listener, connection, over("a", expiration="60000"), over("a", delivery_mode=1, priority=0)
    )

    assert (call.limit, cast.limit) == (60.0, None)


def test_messages_wait_while_this_host_is_not_connected(listener, connection):
    """The first ones after a connection was made may have; so may those after the next one."""
    listener.connected = -1000.0
    (first,) = receive(listener, connection, over("a"))
    listener.connected -= 1000.0
    (later,) = receive(listener, connection, over("a", expiration="1"))
    (again,) = receive(listener, connection, over("b"))

    seen = [message.may_have_waited for message in (first, later, again)]
    assert seen == [True, False, True]
    assert first.received <= again.received <= time.monotonic()


class Incoming:
    """What a ComputeServer gets from a listener."""

    def __init__(self, reply_q=None):
        self.message = {"method": "ping"}
        self.reply_q = reply_q
        self.log = []

    def acknowledge(self):
        self.log.append("acknowledge")

    def heartbeat(self):
        self.log.append("heartbeat")

    def reply(self, reply=None, failure=None):
        self.log.append(failure[0].__name__ if failure else reply)


class Answers:
    def __init__(self, answer):
        self.answer = answer

    def dispatch(self, message):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def process(answer, incoming):
    server = ComputeServer.__new__(ComputeServer)
    server.dispatcher = Answers(answer)
    server._outgoing = Outgoing()
    server._process_incoming([incoming])
    return incoming.log


def test_whatever_happens_the_message_is_acknowledged():
    """Else the broker would send a message that cannot be handled for ever."""
    assert process(RuntimeError("surprise"), Incoming()) == ["acknowledge"]
    assert process(RuntimeError("surprise"), Incoming("reply_1")) == [
        "acknowledge",
        "NovaException",
    ]


def test_an_answer_that_its_caller_cannot_read_is_an_error():
    """Not silence until it times out."""
    hologram = WireObject.new("Hologram", "1.0")
    assert process(hologram, Incoming("reply_1")) == ["acknowledge", "UnsupportedObjectError"]


def test_a_call_is_answered_and_a_cast_is_not():
    """oslo.messaging numbers both; only a call has a queue to answer to."""
    assert process("pong", Incoming("reply_1")) == ["acknowledge", "pong"]
    assert process("pong", Incoming()) == ["acknowledge"]


def failed(error):
    """The reply to a message that is not acknowledged yet."""
    reply = Future()
    reply.set_exception(error)
    return reply


def test_a_refused_message_is_acknowledged_when_its_sender_was_told():
    """Until then nobody but the broker has it."""
    reply = Future()
    incoming = Incoming("reply_1")
    assert process(reply, incoming) == []

    reply.set_exception(JournalError("full"))

    assert incoming.log == ["InternalError", "acknowledge"]


def test_an_answer_leaves_before_the_message_is_given_up():
    """A process that is killed in between is followed by one that answers again."""
    reply = Future()
    incoming = Incoming("reply_1")
    assert process(reply, incoming) == []

    reply.set_result("done")

    assert incoming.log == ["done", "acknowledge"]


@pytest.mark.parametrize("heard_every", [None, 2])
def test_a_long_call_is_acknowledged_before_the_broker_takes_it_back(monkeypatch, heard_every):
    """Half an hour after it gave a message, RabbitMQ closes the channel."""
    monkeypatch.setattr(server, "KEPT_S", 0.1)
    incoming = Incoming("reply_1")
    incoming.client_timeout = heard_every
    told = threading.Event()
    incoming.acknowledge = told.set

    with CallMonitor(incoming):
        assert told.wait(10)


def test_what_is_not_begun_when_the_agent_stops_stays_with_the_broker():
    """The next process gets it."""
    assert process(failed(NotNow()), Incoming()) == []


def test_queues_that_others_declared_otherwise():
    """A setting of nova.conf: named, not waited for; an absent broker is another matter."""
    broker = "Exchange.declare: (406) PRECONDITION_FAILED - inequivalent arg 'auto_delete'"

    refused = _not_listening("compute", f"Unable to connect to AMQP server: {broker}")

    assert isinstance(refused, InvalidConfiguration)
    assert "(inequivalent arg 'auto_delete')" in str(refused)
    assert "[oslo_messaging_rabbit]" in str(refused)
    assert isinstance(_not_listening("compute", "Socket closed"), ControlPlaneUnavailable)
