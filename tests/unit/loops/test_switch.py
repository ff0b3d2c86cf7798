"""A host whose switch is dead: out of the scheduler's sight until it is back."""

from __future__ import annotations

import json

import pytest

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.loops.switch import REASON, SwitchWatch, use_a_switch
from nova_lite.wire.objects import WireObject
from tests.fakes.vif import FakeVifDriver


class Services:
    """The Service record; ``fails`` is how often the conductor does not answer."""

    def __init__(self, **fields):
        self.record = {"id": 5, "host": "node1", "disabled": False, "disabled_reason": None}
        self.record.update(fields)
        self.fails = 0

    def of_host(self, context, host):
        assert host == "node1"
        return WireObject.new("Service", "1.22", **self.record)

    def save(self, context, service, **fields):
        if self.fails:
            self.fails -= 1
            raise ControlPlaneUnavailable("nova-conductor does not answer")
        service.set(**fields)
        self.record.update(fields)


class World:
    def __init__(self, *, needed=True, **fields):
        self.services, self.driver = Services(**fields), FakeVifDriver()
        self.told, self.returns = [], 0
        self.start(needed=needed)

    def start(self, *, needed=True):
        """A new process."""
        self.driver.uses_switch = False
        self.watch = SwitchWatch(
            self.driver, self.services, self.services.of_host(None, "node1"), self.told.append,
            self.returned, needed=needed,
        )  # fmt: skip

    def returned(self):
        self.returns += 1

    def look(self, times=2):
        for _ in range(times):
            self.watch.tick()

    @property
    def state(self):
        return self.services.record["disabled"], self.services.record["disabled_reason"]


def test_it_takes_no_servers_until_the_switch_is_back(caplog):
    """Service record, Placement and log say so, each once."""
    world = World()
    world.driver.dead = True
    world.look(5)

    assert (world.state, world.told) == ((True, REASON), [True])
    assert len([m for m in caplog.messages if "dead on purpose" in m]) == 1

    world.driver.dead = False
    world.look()

    assert (world.state, world.told) == ((False, None), [True, False])
    assert world.returns == 1


def test_a_daemon_that_is_started_again_is_not_reported():
    """It answers the next time."""
    world = World()
    for dead in (True, False, True, False):
        world.driver.dead = dead
        world.look(1)

    assert (world.state, world.told) == ((False, None), [])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_an_operator_disabled_stays_disabled(when):
    """Only reasons of our own are taken back."""
    world = World(**({"disabled": True, "disabled_reason": "disks"} if when == "before" else {}))
    world.driver.dead = True
    world.look()
    if when == "meanwhile":
        world.services.record.update(disabled=True, disabled_reason="disks")
    world.driver.dead = False
    world.look()

    assert world.state == (True, "disks")
    assert world.told[-1] is True


@pytest.mark.parametrize("reason", [REASON, "AUTO: Connection to libvirt lost: 1"])
def test_what_an_earlier_process_disabled_is_enabled(reason):
    """The agent was killed, or stock's, while the host was disabled."""
    world = World(needed=False, disabled=True, disabled_reason=reason)

    world.look(1)

    assert (world.state, world.told) == ((False, None), [False])


def test_a_dead_switch_stays_known_over_a_restart():
    """The host is not enabled by an agent that cannot see the switch."""
    world = World()
    world.driver.dead = True
    world.look()
    world.start(needed=False)
    world.look()

    assert world.state == (True, REASON)


def test_what_could_not_be_told_is_told_at_the_next_look():
    """The conductor was away, too."""
    world = World()
    world.driver.dead, world.services.fails = True, 1
    world.look(1)
    with pytest.raises(ControlPlaneUnavailable):
        world.look(1)
    world.look(1)

    assert (world.state, world.told) == ((True, REASON), [True])


def test_a_host_without_a_switch_is_let_alone():
    """Its ports are of another kind; nothing ever answered."""
    world = World(needed=False)
    world.driver.dead = True
    world.look(5)

    assert (world.state, world.told) == ((False, None), [])


def test_one_that_has_answered_is_needed():
    """Though no server has a port yet."""
    world = World(needed=False)
    world.look(1)
    world.driver.dead = True
    world.look()

    assert world.state == (True, REASON)


@pytest.mark.parametrize(
    ("text", "found"),
    [('[{"type": "ovs"}]', True), ('[{"type": "tap"}]', False), ("[]", False), ("?", False)],
)
def test_the_servers_tell_whether_there_is_a_switch(text, found):
    """By their network caches, of which one may be damaged."""
    if text.startswith("[{"):
        vif = {"id": "p", "address": "fa:16:3e:00:00:01", "network": {"id": "n", "subnets": []}}
        text = json.dumps([{**vif, **json.loads(text)[0]}])
    cache = WireObject.new("InstanceInfoCache", "1.5", network_info=text)
    instance = WireObject.new("Instance", "2.8", info_cache=cache)

    assert use_a_switch([WireObject.new("Instance", "2.8"), instance]) is found
