"""What this agent sends to other hosts is what the recorded stock agents and conductors sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oslo_config import cfg

from nova_lite import conf as options
from nova_lite.peers.client import Peers
from nova_lite.peers.methods import METHODS
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, wrap
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import RELEASES
from tests.fakes.transport import FakeTransport

DATA = Path(__file__).parent / "data" / "methods"
RECORDED_SERVICE = 74  # the recorded cloud was 2026.2


def recorded():
    for method in METHODS:
        path = DATA / f"{method}.json"
        for number, exchange in enumerate(json.loads(path.read_text()) if path.exists() else ()):
            yield pytest.param(exchange, id=f"{method}-{number}")


class Services:
    def of_host(self, context, host):
        return WireObject.new("Service", "1.22", version=RECORDED_SERVICE)


@pytest.mark.parametrize("exchange", list(recorded()))
def test_the_same_message_to_the_same_queue(exchange):
    """Topic, version, arguments and call monitoring."""
    request = exchange["request"]
    topic, _, host = exchange["routing_key"].partition(".")
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([])
    transport = FakeTransport(conf, release=RELEASES[-1])
    peers = Peers(transport, conf, Services(), outgoing=Outgoing(RELEASES[-1]))
    call = "_msg_id" in request

    (peers.call if call else peers.cast)(
        RequestContext.admin(), host, request["method"], **wrap(request["args"])
    )

    (sent,) = transport.sent
    assert (sent.topic, sent.server) == (topic, host)
    assert sent.message["version"] == request["version"]
    assert sent.message["args"] == request["args"]
    assert METHODS[request["method"]].call is call is sent.call
    assert sent.monitor == request.get("_timeout")


def test_most_methods_were_recorded():
    """Without recordings the comparison above would be empty."""
    assert len({parameter.id.rpartition("-")[0] for parameter in recorded()}) >= 12
