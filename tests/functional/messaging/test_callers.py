"""What RabbitMQ keeps of a call whose caller has given up while nobody listened."""

from __future__ import annotations

import datetime
import time

import oslo_messaging as messaging
import pytest

from nova_lite.errors import AnswerLost
from nova_lite.messaging import sending
from nova_lite.rpc import callers, listener, transport
from nova_lite.wire.context import RequestContext

MONITOR = 1  # seconds without a heartbeat after which the caller gives up


class Listening:
    """Receives messages for a host; when it is stopped, the broker keeps them."""

    def __init__(self, made):
        self.received = []
        target = messaging.Target(topic="compute", server="host1")
        self._adapter = listener.listen(made, target)
        self._adapter.start(self.received.extend)

    def stop(self):
        self._adapter.stop()
        self._adapter.cleanup()

    def next(self):
        deadline = time.monotonic() + 20
        while not self.received and time.monotonic() < deadline:
            time.sleep(0.05)
        message = self.received.pop(0)
        message.acknowledge()
        return message


@pytest.fixture
def made(configured):
    made = transport.make(configured("host1"))
    yield made
    made.cleanup()


def asked():
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    return RequestContext({"request_id": "req-1", "timestamp": now.isoformat()})


def test_a_monitored_call_that_waited_is_known_to_be_too_late(made):
    """It waits at the broker for as long as the caller would have waited for a busy host."""
    client = sending.client(made, messaging.Target(topic="compute", version="6.0"))
    to_host = client.prepare(server="host1", timeout=60, call_monitor_timeout=MONITOR)
    Listening(made).stop()  # the queue is there
    context = asked()
    with pytest.raises(messaging.MessagingTimeout):
        to_host.call(context, "reserve_block_device_name")

    again = Listening(made)
    try:
        late = again.next()
        assert (late.limit, late.client_timeout, late.may_have_waited) == (60.0, MONITOR, True)
        with pytest.raises(AnswerLost, match="given up"):
            callers.check(callers.waits_until(late, RequestContext(late.ctxt)), "it", context)

        client.prepare(server="host1").cast(context, "stop_instance")
        cast = again.next()
        assert callers.waits_until(cast, RequestContext(cast.ctxt)) == float("inf")
    finally:
        again.stop()


def test_a_plain_call_does_not_wait_longer_than_its_caller(made):
    """RabbitMQ drops it."""
    client = sending.client(made, messaging.Target(topic="compute", version="6.0"))
    Listening(made).stop()
    with pytest.raises(messaging.MessagingTimeout):
        client.prepare(server="host1", timeout=1).call(asked(), "set_admin_password")
    time.sleep(0.5)

    again = Listening(made)
    try:
        client.prepare(server="host1").cast(asked(), "stop_instance")
        assert again.next().message["method"] == "stop_instance"
    finally:
        again.stop()
