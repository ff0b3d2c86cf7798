"""Waiting until ports are wired up."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from nova_lite.errors import VifPlugTimeout
from nova_lite.services.events import VIF_PLUGGED, EventHub
from nova_lite.services.work import Interrupted
from nova_lite.steps.network.ports import WaitForPorts
from tests.fakes.clock import ManualClock

SERVER = "344a9129-b410-41e7-af51-fddb339207ce"


class World:
    """What the step works with; ``answers`` are Neutron's, one a look, the last for ever."""

    def __init__(self, *answers, timeout=60, fatal=True):
        self.answers, self.looks, self.resumed = list(answers), 0, []
        self.clock, self.within = ManualClock(), []
        self.events = EventHub(self.clock)
        self.events.watch(SERVER)
        self.ports, self.hypervisor, self.host = self, self, "node1"
        self.conf = SimpleNamespace(vif_plugging_timeout=timeout, vif_plugging_is_fatal=fatal)
        self.cancelled = threading.Event()

    def active(self, context, server_uuid, *, within=0.0):
        self.looks += 1
        self.within.append(within)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def resume(self, uuid):
        self.resumed.append(uuid)

    def wait_for(self, *ports):
        work = SimpleNamespace(
            tools=self, uuid=SERVER, context=None, cancelled=self.cancelled,
            notes={"await_ports": list(ports)},
        )  # fmt: skip
        WaitForPorts(work).do()


def test_events_that_came_early_are_enough():
    """Neutron is not asked for what it has said."""
    world = World(set())
    world.events.deliver(SERVER, VIF_PLUGGED, "p1", "completed")

    world.wait_for("p1")

    assert (world.looks, world.resumed) == (0, [SERVER])


def test_neutron_is_asked_while_its_event_is_not_there():
    """It sends events late, once, and maybe to a process that was killed."""
    world = World(set(), {"p1"}, {"p1", "p2"})

    world.wait_for("p1", "p2")

    assert (world.looks, world.resumed) == (3, [SERVER])


def test_a_failed_port_ends_the_wait_at_once():
    """The error names the port; the guest does not run."""
    world = World(set())
    world.events.deliver(SERVER, VIF_PLUGGED, "p1", "failed")

    with pytest.raises(VifPlugTimeout, match="cannot wire up a port of p1"):
        world.wait_for("p1")

    assert (world.looks, world.resumed) == (0, [])


def test_what_others_have_found_may_be_older_the_longer_it_waits():
    """But the last look, after which the boot fails, is its own."""
    world = World(set(), timeout=60)
    with pytest.raises(VifPlugTimeout):
        world.wait_for("p1")
    shared = [within for within in world.within if within]
    assert shared == sorted(shared) and shared[0] < shared[-1]
    assert world.within[-1] == 0


@pytest.mark.parametrize("fatal", [True, False])
def test_after_the_configured_time_the_option_decides(fatal):
    """[DEFAULT]vif_plugging_is_fatal: an error, or a guest with a port that is not wired up."""
    world = World(set(), timeout=300, fatal=fatal)

    if fatal:
        with pytest.raises(VifPlugTimeout, match="within"):
            world.wait_for("p1")
    else:
        world.wait_for("p1")

    assert world.resumed == ([] if fatal else [SERVER])


def test_the_wait_ends_when_the_server_is_deleted():
    """Nobody waits five minutes for the port of a server that nobody wants."""
    world = World(set())
    world.cancelled.set()

    with pytest.raises(Interrupted):
        world.wait_for("p1")
