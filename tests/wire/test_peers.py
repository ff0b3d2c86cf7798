"""What this agent sends to other hosts is what the recorded stock agents and conductors sent."""

from __future__ import annotations

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
from tests.wire import recorded


def of_all_releases():
    for release in RELEASES:
        for method in METHODS:
            for number, exchange in enumerate(recorded.exchanges(release.name, method)):
                yield pytest.param(release, exchange, id=f"{release.name}-{method}-{number}")


class Services:
    """All services are of one release."""

    def __init__(self, release):
        self._release = release

    def of_host(self, context, host):
        return WireObject.new("Service", "1.22", version=self._release.service)


@pytest.mark.parametrize(("release", "exchange"), list(of_all_releases()))
def test_the_same_message_to_the_same_queue(release, exchange):
    """Topic, version, arguments and call monitoring."""
    request = exchange["request"]
    topic, _, host = exchange["routing_key"].partition(".")
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([])
    transport = FakeTransport(conf, release=release)
    peers = Peers(transport, conf, Services(release), outgoing=Outgoing(release))
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


@pytest.mark.parametrize(
    ("release", "number"), [(recorded.NEWEST, 12), *((release, 2) for release in recorded.OLDER)]
)
def test_most_methods_were_recorded(release, number):
    """Without recordings the comparison above would be empty."""
    assert sum(bool(recorded.exchanges(release, method)) for method in METHODS) >= number
