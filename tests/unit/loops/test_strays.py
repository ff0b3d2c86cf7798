"""Guests whose server was deleted while no agent looked."""

from __future__ import annotations

import pytest

from nova_lite.errors import DomainNotFound, ServerNotFound
from nova_lite.loops.strays import Strays
from nova_lite.wire.objects import WireObject


class World:
    """Instances, hypervisor and engine in one: what is asked of them is remembered."""

    def __init__(self, **fields):
        self.fields, self.accepted, self.destroyed, self.contexts = fields, [], [], []
        self.occupied, self.vanished, self.later = False, False, []

    def get(self, context, uuid, expected_attrs):
        self.contexts.append(context)
        if not self.fields:
            raise ServerNotFound(f"Instance {uuid} could not be found.")
        return WireObject.new("Instance", "2.8", uuid=uuid, **self.fields)

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


def look(world, action="reap"):
    Strays("node1", action, world, world, world).look_at("s1")


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
