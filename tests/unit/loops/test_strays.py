"""Guests whose server was deleted while no agent looked."""

from __future__ import annotations

import pytest

from nova_lite.errors import DomainNotFound, ServerNotFound
from nova_lite.loops.schedule import periodic_tasks
from nova_lite.loops.strays import Strays
from nova_lite.model.host import DomainInfo
from nova_lite.model.states import PowerState
from nova_lite.wire.decode import utcnow
from nova_lite.wire.objects import WireObject
from tests.unit.operations.host import Host

LONG_AGO = "2020-01-01T00:00:00Z"


class World:
    """Instances, hypervisor and engine in one: what is asked of them is remembered."""

    def __init__(self, **fields):
        self.fields, self.accepted, self.destroyed, self.contexts = fields, [], [], []
        self.occupied, self.vanished, self.later = False, False, []
        self.here = []

    def get(self, context, uuid, expected_attrs):
        self.contexts.append(context)
        if not self.fields:
            raise ServerNotFound(f"Instance {uuid} could not be found.")
        return WireObject.new("Instance", "2.8", uuid=uuid, **self.fields)

    def domains(self):
        return [DomainInfo("s1", "instance-1", PowerState.RUNNING)] + [
            DomainInfo(uuid, "instance-2", PowerState.RUNNING) for uuid in self.here
        ]

    def by_host(self, context, host, expected_attrs):
        return [WireObject.new("Instance", "2.8", uuid=uuid, host=host) for uuid in self.here]

    def destroy(self, uuid):
        self.destroyed.append(uuid)

    def busy(self, uuid):
        return self.occupied

    def after(self, uuid, label, job):
        self.later.append(job)

    def power_state(self, uuid):
        if self.vanished:
            raise DomainNotFound(uuid)

    def begin(self, method, context, uuid, arguments):
        self.accepted.append((method, uuid))


def look(world, action="reap", age=0):
    Strays("node1", action, world, world, world, age=age).tick()


@pytest.mark.parametrize(
    ("deleted_at", "age", "removed"),
    [(LONG_AGO, 600, True), (utcnow(), 86400, False), (utcnow(), 0, True), (None, 600, True)],
    ids=["long ago", "just now", "just now, no timeout", "never"],  # parallel runs need the same
)
def test_it_has_to_be_deleted_for_a_while(deleted_at, age, removed):
    """running_deleted_instance_timeout: the operator may want to look first."""
    world = World(deleted=True, host="node1", deleted_at=deleted_at)

    look(world, age=age)

    assert (world.accepted != []) is removed


def test_only_the_periodic_look_removes_it():
    """running_deleted_instance_poll_interval counts, not how often power states are compared."""
    world = World(deleted=True, host="node1")
    world.here = ["s2"]
    strays = Strays("node1", "reap", world, world, world)

    strays.look_at("s1")
    assert world.accepted == []
    strays.tick()
    assert world.accepted == [("terminate_instance", "s1")]


@pytest.mark.parametrize(
    ("options", "looked"),
    [
        ({}, 1800.0),
        ({"running_deleted_instance_poll_interval": "60"}, 60.0),
        ({"running_deleted_instance_poll_interval": "0"}, None),
        ({"running_deleted_instance_poll_interval": "-1"}, None),
        ({"running_deleted_instance_action": "noop"}, None),
    ],
)
def test_the_look_is_as_often_as_nova_conf_says(tmp_path, options, looked):
    """At start as well; 0 switches it off, as nova's documentation has it."""
    host = Host(tmp_path / "state")
    for name, value in options.items():
        host.conf.set_override(name, int(value) if value[-1].isdigit() else value)
    agent = host.agent()

    timers = {t.name: t for t in periodic_tasks(host.conf, agent.tools, agent.engine)}

    timer = timers.get("guests of deleted servers")
    assert (timer and timer._interval) == looked
    assert timer is None or timer._first == 0.0


def test_what_is_left_of_a_deleted_server_is_removed():
    """As if the delete had arrived here; the record is found though it is deleted."""
    world = World(deleted=True, host="node1")

    look(world)

    assert world.accepted == [("terminate_instance", "s1")]
    assert world.contexts[0].read_deleted == "yes"


@pytest.mark.parametrize(
    "fields", [{}, {"deleted": False, "host": "node1"}, {"deleted": True, "host": "node2"}]
)
def test_other_guests_are_left_alone(fields):
    """A guest the cloud never knew, one that lives, one that belongs to another host."""
    world = World(**fields)

    look(world)

    assert (world.accepted, world.destroyed) == ([], [])


@pytest.mark.parametrize(("action", "destroyed"), [("log", []), ("noop", []), ("shutdown", ["s1"])])
def test_the_operator_chooses(action, destroyed):
    """running_deleted_instance_action, as with nova-compute."""
    world = World(deleted=True, host="node1")

    look(world, action)

    assert (world.accepted, world.destroyed) == ([], destroyed)


@pytest.mark.parametrize("vanished", [False, True])
def test_a_busy_one_is_looked_at_when_that_is_over(vanished):
    """An event of its deleted port may come first; what that, or a delete, removed is gone."""
    world = World(deleted=True, host="node1")
    world.occupied = True
    look(world)
    assert world.accepted == []

    world.vanished = vanished
    (job,) = world.later
    job()

    assert world.accepted == ([] if vanished else [("terminate_instance", "s1")])


@pytest.mark.parametrize("deleted", [False, True])
def test_a_guest_of_another_hosts_server_is_looked_up_among_the_evacuated(deleted, caplog):
    """Removing it is theirs; nothing is said of it here."""
    world = World(deleted=deleted, host="node2")
    asked = []

    strays = Strays("node1", "reap", world, world, world, lambda: asked.append(1) or {"s1"})
    strays.look_at("s1")

    assert (asked, world.accepted, world.destroyed) == ([1], [], [])
    assert caplog.messages == []


def test_one_that_was_not_evacuated_is_reported_once(caplog):
    """It may belong to a migration: the operator is told what to look for."""
    strays = Strays("node1", "noop", *[World(deleted=False, host="node2")] * 3)

    strays.look_at("s1")
    strays.look_at("s1")

    (message,) = caplog.messages
    assert "s1" in message
    assert "host node2" in message


@pytest.mark.parametrize("moving", [True, False])
def test_a_guest_on_its_way_here_is_no_surprise(caplog, moving):
    """Its record names the other host until all of it is here."""
    world = World(deleted=False, host="node2")

    Strays("node1", "reap", world, world, world, moving=lambda uuid: moving).tick()

    assert ("is left alone" in caplog.text) is not moving
    assert world.accepted == []


@pytest.mark.parametrize("kept", [True, False])
def test_the_guest_of_a_server_that_was_resized_is_no_surprise(caplog, kept):
    """Its old host keeps guest and files for a revert; any other one is reported."""
    world = World(deleted=False, host="node2")

    Strays("node1", "reap", world, world, world, kept=lambda uuid: kept).tick()

    assert ("is left alone" in caplog.text) is not kept
    assert world.accepted == []
