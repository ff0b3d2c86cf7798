"""Servers that are being built or rescued for longer than the operator allows."""

from __future__ import annotations

import datetime

import pytest

from nova_lite.errors import UnexpectedTaskState
from nova_lite.loops.overdue import OverdueRescues
from nova_lite.loops.overdue_builds import OverdueBuilds
from nova_lite.wire.objects import WireObject


def ago(seconds):
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """Instances, actions and own requests in one: what is asked of them is remembered."""

    def __init__(self, *servers, busy=False, error=None):
        self.servers, self._busy, self._error = servers, busy, error
        self.saved, self.faults, self.asked = [], [], []

    def by_host(self, context, host, attributes):
        assert host == "node1"
        return list(self.servers)

    def busy(self, uuid):
        return self._busy

    def save(self, context, instance, *, expected_task_state, **fields):
        if self._error:
            raise self._error
        self.saved.append((instance["uuid"], expected_task_state, fields))

    def fault(self, context, uuid, failure):
        self.faults.append(failure.message)

    def ask(self, context, instance, method, *, action, task_state, expected_task_state):
        assert expected_task_state == [instance.get("task_state")]
        if self._error:
            raise self._error
        self.asked.append((method, instance["uuid"], action, task_state))


def server(**fields):
    return WireObject.new("Instance", "2.8", **{"uuid": "s1", "task_state": None, **fields})


def rescued(seconds, **fields):
    return server(**{"vm_state": "rescued", "launched_at": ago(seconds), **fields})


def building(seconds):
    return server(vm_state="building", task_state="spawning", created_at=ago(seconds))


def test_a_server_that_is_rescued_for_too_long_is_unrescued():
    """As if its user had asked for it."""
    world = World(rescued(61))

    OverdueRescues("node1", 60, world, world).tick()

    assert world.asked == [("unrescue_instance", "s1", "unrescue", "unrescuing")]


@pytest.mark.parametrize(
    ("seconds", "fields"),
    [(30, {}), (90, {"task_state": "unrescuing"}), (90, {"vm_state": "active"})],
)
def test_other_servers_are_left_alone(seconds, fields):
    """Not long enough, already on its way back, not rescued."""
    world = World(rescued(seconds, **fields))

    OverdueRescues("node1", 60, world, world).tick()

    assert world.asked == []


def test_somebody_else_was_faster():
    """The next server is looked at all the same."""
    world = World(rescued(90), rescued(90), error=UnexpectedTaskState("it is deleting"))

    OverdueRescues("node1", 60, world, world).tick()

    assert world.asked == []


@pytest.mark.parametrize(("busy", "fields"), [(False, {"task_state": None}), (True, {})])
def test_a_build_that_takes_too_long_ends_in_error(busy, fields):
    """One that still runs here keeps its task state and may yet succeed, as in stock."""
    world = World(building(61), busy=busy)

    OverdueBuilds("node1", 60, world, world, world).tick()

    assert world.saved == [("s1", ["spawning"], {"vm_state": "error", **fields})]
    assert "instance_build_timeout" in world.faults[0]


def test_a_young_build_goes_on():
    """And so does a server that is built."""
    world = World(building(30), server(vm_state="active", created_at=ago(90)))

    OverdueBuilds("node1", 60, world, world, world).tick()

    assert world.saved == []
