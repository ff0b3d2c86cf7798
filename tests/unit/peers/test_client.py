"""Asking another compute host: version, topic, arguments, patience."""

from __future__ import annotations

import datetime

import oslo_messaging as messaging
import pytest
from oslo_config import cfg

from nova_lite import conf as options
from nova_lite.errors import (
    ControlPlaneUnavailable,
    InvalidConfiguration,
    PeerTooOld,
    PeerUnavailable,
    ServerNotFound,
    UnexpectedTaskState,
)
from nova_lite.peers.client import Peers
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import ManualClock
from tests.fakes.transport import FakeTransport

ADMIN = RequestContext.admin()
UNROUTED = messaging.MessageUndeliverable(None, "nova", "compute.two", {})
CONNECTION = {"instance": None, "volume_id": "v", "delete_attachment": False}


class Services:
    """Service records by host; counts how often it is asked."""

    def __init__(self, **versions):
        self.versions, self.asked = versions, 0

    def of_host(self, context, host):
        self.asked += 1
        version = self.versions.get(host)
        return WireObject.new("Service", "1.22", version=version) if version else None


class Reported:
    """The Service record of host ``two``; ``age``: seconds from its last report to the question."""

    def __init__(self, age, **fields):
        self.age = age
        self.fields = {"version": 72, "forced_down": False, "created_at": None, **fields}

    def of_host(self, context, host):
        if host != "two":
            return None
        fields = dict(self.fields)
        if self.age is not None:
            seen = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=self.age)
            fields["last_seen_up"] = f"{seen:%Y-%m-%dT%H:%M:%SZ}"
        return WireObject.new("Service", "1.22", **fields)


class World:
    """One host and its peer ``two``."""

    def __init__(self, version=72, pin=None, answers=()):
        conf = cfg.ConfigOpts()
        options.register_opts(conf)
        conf([])
        conf.set_override("compute", pin, group="upgrade_levels")
        self.clock = ManualClock(0.0)
        self.transport = FakeTransport(conf, answers)
        self.services = Services(two=version)
        self.peers = Peers(self.transport, conf, self.services, clock=self.clock)

    @property
    def sent(self):
        return self.transport.sent[-1]

    def call(self, method="check_instance_shared_storage", host="two", **arguments):
        return self.peers.call(ADMIN, host, method, **(arguments or {"data": {}}))


def test_a_message_goes_to_the_hosts_own_queue():
    """In the version that the method came with; the broker says if there is no queue."""
    world = World(answers=(True,))

    assert world.call() is True

    assert (world.sent.topic, world.sent.server) == ("compute-alt", "two")
    assert world.sent.message["version"] == "6.0"
    assert world.sent.message["args"] == {"data": {}}
    assert world.sent.mandatory


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("prep_resize", ("instance", "flavor")),
        ("confirm_resize", ("instance",)),
        ("confirm_resize", ("instance", "migration", "request_spec")),
    ],
)
def test_other_arguments_than_the_methods_are_refused(method, arguments):
    """Argument names are the contract: the other host would answer with a TypeError."""
    with pytest.raises(TypeError, match=f"{method} takes the arguments instance"):
        World().peers.cast(ADMIN, "two", method, **dict.fromkeys(arguments))


@pytest.mark.parametrize(
    ("version", "pin", "sent", "carried"),
    [
        (72, None, "6.3", True),
        (67, None, "6.3", True),
        (66, None, "6.0", False),
        (72, "6.2", "6.0", False),
    ],
)
def test_an_argument_is_left_out_for_who_does_not_know_it(version, pin, sent, carried):
    """Where leaving it out means the same."""
    world = World(version, pin)

    world.call("remove_volume_connection", **CONNECTION)

    assert world.sent.message["version"] == sent
    assert ("delete_attachment" in world.sent.message["args"]) is carried


@pytest.mark.parametrize(("version", "pin"), [(66, None), (72, "6.2")])
def test_an_argument_that_means_something_is_refused(version, pin):
    """The attachment would stay, and nobody would know."""
    world = World(version, pin)

    with pytest.raises(PeerTooOld, match=r"6\.3, and host two may be spoken to in 6\.2"):
        world.call("remove_volume_connection", **{**CONNECTION, "delete_attachment": True})

    assert world.transport.sent == []


def test_a_version_that_the_caller_needs():
    """Where a value means something that only a younger host knows."""
    world = World(70)

    with pytest.raises(PeerTooOld, match=r"needs compute RPC 6\.5"):
        world.peers.call(
            ADMIN, "two", "check_instance_shared_storage", version="6.5", data={}
        )


def test_a_host_from_before_the_api():
    """It would not even understand the version."""
    with pytest.raises(PeerTooOld, match="host two reports service version 54"):
        World(54).call()


@pytest.mark.parametrize("pin", ["5.13", "essex"])
def test_a_bad_pin_is_found_at_start(pin):
    """By the option's name."""
    with pytest.raises(InvalidConfiguration, match=r"\[upgrade_levels\]compute"):
        World(pin=pin)


def test_the_service_version_is_remembered_for_a_while():
    """A live migration asks a host many times."""
    world = World()
    world.call()
    world.clock.now = 599.0
    world.call()
    assert world.services.asked == 1

    world.clock.now, world.services.versions["two"] = 601.0, 70
    world.call()
    assert (world.services.asked, world.sent.topic) == (2, "compute")


def test_a_host_that_was_silent_may_come_back_as_another_release():
    """It was upgraded, perhaps."""
    world = World(answers=(messaging.MessagingTimeout(),))
    with pytest.raises(PeerUnavailable):
        world.call()

    world.call()

    assert world.services.asked == 2


def test_a_host_that_nobody_knows():
    """It is asked for again the next time: it may just have joined."""
    world = World()
    for _ in range(2):
        with pytest.raises(PeerUnavailable, match="host three has no nova-compute service"):
            world.call(host="three")

    assert world.services.asked == 2


@pytest.mark.parametrize(
    ("options", "timeout", "monitor"),
    [
        ({}, 60, None),
        ({"timeout": 5.0}, 5.0, None),
        ({"long": True}, 1800, 60),
        ({"long": True, "timeout": 100.0}, 100.0, 60),
    ],
)
def test_timeouts(options, timeout, monitor):
    """A long call may take half an hour, and is given up after a minute of silence."""
    world = World()

    world.peers.call(ADMIN, "two", "check_instance_shared_storage", data={}, **options)

    assert (world.sent.timeout, world.sent.monitor) == (timeout, monitor)


def test_a_long_response_timeout_does_not_make_a_dead_host_take_longer():
    """As in stock: from a minute on a plain call is monitored, too."""
    world = World()
    world.transport.conf.set_override("rpc_response_timeout", 300)

    world.call()

    assert (world.sent.timeout, world.sent.monitor) == (300, 60)


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (messaging.MessagingTimeout(), PeerUnavailable, "host two did not answer check_inst"),
        (
            UNROUTED, PeerUnavailable, "host two has no queue on the message broker for check_inst",
        ),
        (messaging.MessageDeliveryFailure(), ControlPlaneUnavailable, "broker did not take check"),
        (
            messaging.RemoteError("InstanceNotFound", "gone"), ServerNotFound,
            "^host two: gone$",
        ),
        (
            messaging.RemoteError("UnexpectedTaskStateError", "x"), UnexpectedTaskState,
            "^host two: x$",
        ),
        (
            messaging.RemoteError("MigrationPreCheckError", "no"), RemoteFailure,
            "^host two: MigrationPreCheckError: no$",
        ),
        # What the other host waits for without an end is a failure here.
        (
            messaging.RemoteError("CinderConnectionFailed", "away"), RemoteFailure,
            "^host two: CinderConnectionFailed: away$",
        ),
        (
            messaging.RemoteError("MessagingTimeout", "its conductor"), RemoteFailure,
            "^host two: MessagingTimeout",
        ),
    ],
)  # fmt: skip
def test_errors(answer, error, match):
    """Each of the table's kind, and the host named."""
    with pytest.raises(error, match=match):
        World(answers=(answer,) * 20).call()


def test_a_silent_host_is_not_asked_twice():
    """Whether it may be is known only to who asks."""
    world = World(answers=(messaging.MessagingTimeout(),) * 3)

    with pytest.raises(PeerUnavailable):
        world.call()

    assert len(world.transport.sent) == 1


def test_a_cast_waits_for_nothing():
    """No timeout: the message stays in the queue until the host takes it."""
    world = World()

    world.peers.cast(ADMIN, "two", "confirm_resize", instance=None, migration=None)

    assert (world.sent.call, world.sent.timeout, world.sent.topic) == (False, None, "compute")


@pytest.mark.parametrize("topic", ["compute", "compute-alt"])
def test_ping_asks_no_conductor(topic):
    """It is how one finds out what is wrong."""
    world = World()

    assert world.peers.ping("two", topic=topic) < 1

    assert (world.sent.topic, world.sent.server) == (topic, "two")
    assert world.sent.message["namespace"] == "baseapi"
    assert world.services.asked == 0


@pytest.mark.parametrize(
    ("least", "pin", "asked"),
    [(71, None, 0), (74, None, 0), (70, None, 1), (0, None, 1), (66, "6.2", 0), (64, "6.2", 1)],
)
def test_a_host_is_looked_up_only_where_hosts_may_be_too_old(least, pin, asked):
    """The lowest version of the cell only grows."""
    world = World(version=72, pin=pin, answers=(True,))
    world.peers.at_least(least)
    world.peers.at_least(0)

    world.call()

    assert world.services.asked == asked
    topic = "compute" if pin else "compute-alt"
    assert (world.sent.topic, world.sent.message["version"]) == (topic, "6.0")


@pytest.mark.parametrize(
    ("service", "up"),
    [
        (Reported(5), True),
        (Reported(70), False),  # service_down_time is 60
        (Reported(5, forced_down=True), False),
        (Reported(None), False),
    ],
)
def test_a_host_is_up_while_it_reports_itself(service, up):
    """As nova-api decides it, an operator's force-down included."""
    world = World()
    peers = Peers(world.transport, world.transport.conf, service, clock=world.clock)

    assert peers.is_up(ADMIN, "two") is up
    assert not peers.is_up(ADMIN, "unknown")


@pytest.mark.parametrize(
    ("service", "fenced"), [(Reported(5), False), (Reported(None), False),
                            (Reported(70, forced_down=True), True)],
)  # fmt: skip
def test_only_an_operator_says_that_a_host_is_dead(service, fenced):
    """One that is silent may run its guests."""
    world = World()
    peers = Peers(world.transport, world.transport.conf, service, clock=world.clock)

    assert peers.is_fenced(ADMIN, "two") is fenced
    assert not peers.is_fenced(ADMIN, "unknown")
