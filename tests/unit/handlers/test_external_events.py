"""External events: what they begin is on disk before the message is acknowledged, and what the log
says of them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from concurrent.futures import Future

import oslo_messaging as messaging
import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import JournalError
from nova_lite.handlers.external_events import ExternalEvents
from nova_lite.handlers.table import handlers
from nova_lite.rpc import endpoint
from nova_lite.rpc.dispatch import Dispatcher
from nova_lite.rpc.server import ComputeServer
from nova_lite.services.events import VIF_PLUGGED, EventHub
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.unit.operations.host import VOLUME, Host

CONTEXT = RequestContext({"request_id": "req-1"})


class Message:
    """As oslo.messaging hands it over; ``acknowledging`` is called at its acknowledgement."""

    def __init__(self, args, acknowledging=lambda: None):
        self.message = {"method": "external_instance_event", "args": args, "version": "6.0"}
        self.ctxt = {"request_id": "req-1"}
        self.msg_id, self.reply_q, self.client_timeout = "m1", None, None
        self.acknowledged = False
        self._acknowledging = acknowledging

    def acknowledge(self):
        self.acknowledged = True
        self._acknowledging()


def event(server, name, tag=None, status="completed"):
    return WireObject.new(
        "InstanceExternalEvent", "1.5", instance_uuid=server, name=name, tag=tag, status=status
    )


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.set(host="host1", node="node", vm_state="active", task_state=None)
    return made


class Running:
    """An agent that takes messages; its server is busy until ``go``."""

    def __init__(self, host):
        self.host, self.go = host, threading.Event()
        self.agent = host.agent()
        self.engine = self.agent.engine
        self.engine.after(host.server, "something else", lambda: self.go.wait(30))
        routes = endpoint.routes(handlers(self.agent.tools, self.engine))
        dispatcher = Dispatcher(
            routes, {}, self.engine, None, lambda message: contextlib.nullcontext()
        )
        transport = messaging.get_rpc_transport(host.conf, url="fake://")
        self.server = ComputeServer(
            transport, "compute", "host1", dispatcher, Pool("messages", 1)
        )

    def take(self, *events, acknowledging=lambda: None):
        instance = WireObject.new(
            "Instance", "2.8", uuid=self.host.server, host="host1", task_state=None
        )
        arguments = {
            "instances": [instance.primitive],
            "events": [one.primitive for one in events],
        }
        message = Message(arguments, acknowledging)
        self.server._process_incoming([message])
        return message

    def promised(self):
        """Verbs in the journal."""
        files = sorted(self.host.journal.glob("*.journal"))
        return [json.loads(path.read_text().splitlines()[0])["intent"]["method"] for path in files]


@pytest.fixture
def running(host):
    made = Running(host)
    yield made
    made.go.set()
    assert made.engine.settle(30)


def test_an_extended_volume_is_in_the_journal_before_the_acknowledgement(running):
    """A process killed right after the acknowledgement extends it at its next start."""
    at_acknowledgement = []

    running.take(
        event(running.host.server, "volume-extended", VOLUME),
        acknowledging=lambda: at_acknowledgement.extend(running.promised()),
    )

    assert at_acknowledgement == ["extend_volumes"]


def test_the_same_event_again_is_the_same_promise(running):
    """The acknowledgement got lost."""
    for _ in range(2):
        running.take(event(running.host.server, "volume-extended", VOLUME))

    assert running.promised() == ["extend_volumes"]


def test_on_a_full_disk_the_broker_keeps_the_message_until_the_user_was_told(
    running, monkeypatch
):
    """As with any other operation."""

    def full(intent):
        raise JournalError("cannot write the journal: no space left on device")

    monkeypatch.setattr(running.agent.parts.journal, "open", full)
    told = threading.Event()

    message = running.take(
        event(running.host.server, "volume-extended", VOLUME), acknowledging=told.set
    )

    assert not message.acknowledged
    running.go.set()
    assert told.wait(30)
    assert running.host.look()["faults"] == 1


def test_an_agent_that_stops_leaves_the_message_with_the_broker(running, monkeypatch):
    """The next one tries again."""

    def full(intent):
        raise JournalError("cannot write the journal: no space left on device")

    monkeypatch.setattr(running.agent.parts.journal, "open", full)
    message = running.take(event(running.host.server, "volume-extended", VOLUME))

    threading.Timer(0.2, running.go.set).start()
    running.engine.drain(30)

    assert not message.acknowledged


def test_the_promise_comes_first():
    """What goes wrong with another event of the message keeps nobody from making it."""
    extended = []

    def refresh(context, server, port):
        raise ZeroDivisionError

    events = ExternalEvents(
        EventHub(), refresh, None, lambda context, instance, ids: extended.append(ids)
    )

    with pytest.raises(ZeroDivisionError):
        events.external_instance_event(
            CONTEXT,
            [WireObject.new("Instance", "2.8", uuid="s1")],
            [event("s1", "network-changed", "p1"), event("s1", "volume-extended", "v1")],
        )

    assert extended == [["v1"]]


def test_it_is_over_when_each_server_was_told():
    """Two servers of one message; one refusal that must come again is enough."""
    refused = [Future(), Future()]
    waiting = list(refused)
    events = ExternalEvents(
        EventHub(), None, None, lambda context, instance, ids: waiting.pop(0)
    )
    servers = [WireObject.new("Instance", "2.8", uuid=uuid) for uuid in ("s1", "s2")]

    over = events.external_instance_event(
        CONTEXT, servers, [event(uuid, "volume-extended", "v") for uuid in ("s1", "s2")]
    )

    refused[0].set_result(True)
    assert not over.done()
    refused[1].set_result(False)
    assert over.result(5) is False


def received(hub, *names):
    """One event of each name, of server s1 and port p1; what was refreshed."""
    refreshed = []
    handler = ExternalEvents(hub, lambda context, uuid, tag: refreshed.append(tag), None, None)
    events = [
        WireObject.new("InstanceExternalEvent", "1.5", instance_uuid="s1", name=name, tag="p1")
        for name in names
    ]
    instance = WireObject.new("Instance", "2.8", uuid="s1")
    handler.external_instance_event(RequestContext({}), [instance], events)
    return refreshed


@pytest.mark.parametrize("awaited", [True, False])
def test_an_event_that_nobody_waits_for_is_no_news(awaited, caplog):
    """Neutron sends several for each port of a boot."""
    caplog.set_level(logging.INFO)
    hub = EventHub()
    if awaited:
        hub.watch("s1")

    received(hub, VIF_PLUGGED)

    assert (VIF_PLUGGED in caplog.text) is awaited


def test_a_change_of_the_network_is_looked_at(caplog):
    """And said, for it changes what the API shows."""
    caplog.set_level(logging.INFO)

    assert received(EventHub(), "network-changed") == ["p1"]
    assert "Received event network-changed p1 for server s1" in caplog.text
