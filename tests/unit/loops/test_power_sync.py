"""What becomes of a server whose guest is not as its record says."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_lite.errors import ServerNotFound, UnexpectedTaskState
from nova_lite.loops.power_sync import PowerSync
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import PowerState
from nova_lite.wire.objects import WireObject
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor

NOT_FOUND = None
OFF, HELD, ON = PowerState.SHUTDOWN, PowerState.PAUSED, PowerState.RUNNING
CRASHED, ASLEEP = PowerState.CRASHED, PowerState.SUSPENDED


class Cloud:
    """Records and own requests of one server."""

    def __init__(self, **fields):
        self.fields = fields
        self.saved, self.asked, self.is_busy = [], [], False

    def record(self):
        if not self.fields:
            raise ServerNotFound("no such server")
        return WireObject.new("Instance", "2.8", **self.fields)

    def by_host(self, context, host, expected_attrs):
        return [self.record()] if self.fields else []

    def get(self, context, uuid, expected_attrs):
        return self.record()

    def save(self, context, instance, expected_task_state, **fields):
        self.saved.append(fields)

    def busy(self, uuid):
        return self.is_busy

    def ask(self, context, instance, method, **arguments):
        self.asked.append((method, arguments["action"]))


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def guest(hypervisor, tmp_path: Path):
    """Make a guest in a state; returns its uuid."""

    def make(state):
        spec = tiny_guest(tmp_path)
        if state is not None:
            hypervisor.define(spec)
            hypervisor.guests[spec.uuid].state = state
        return spec.uuid

    return make


def sync(hypervisor, cloud, strays=None):
    """A PowerSync that does at once what it would do later."""
    return PowerSync(
        "node1",
        hypervisor,
        cloud,
        cloud,
        lambda seconds, uuid, run: run(),
        (strays if strays is not None else []).append,
    )


def looked_at(hypervisor, uuid, vm_state, power_state, task_state=None):
    """The cloud after a poll over a server with that record."""
    cloud = Cloud(
        uuid=uuid,
        host="node1",
        vm_state=vm_state,
        task_state=task_state,
        power_state=int(power_state),
    )
    sync(hypervisor, cloud).tick()
    return cloud


@pytest.mark.parametrize(
    ("vm_state", "state"),
    [
        ("active", OFF),
        ("active", CRASHED),
        ("active", ASLEEP),
        ("paused", OFF),
        ("paused", CRASHED),
        ("stopped", ON),
        ("stopped", HELD),
    ],
)
def test_servers_that_are_stopped(hypervisor, guest, vm_state, state) -> None:
    """Off when it should run, or running when it should be off: it is stopped, once."""
    uuid = guest(state)

    cloud = looked_at(hypervisor, uuid, vm_state, ON)

    assert cloud.asked == [("stop_instance", "stop")]


@pytest.mark.parametrize(
    ("vm_state", "state"),
    [
        ("active", HELD),
        ("active", NOT_FOUND),
        ("paused", ON),
        ("suspended", OFF),
        ("suspended", HELD),
        ("rescued", OFF),
        ("error", OFF),
        ("building", OFF),
        ("resized", OFF),
        ("stopped", NOT_FOUND),
        ("soft-delete", OFF),
    ],
)
def test_servers_whose_power_state_is_only_noted(hypervisor, guest, vm_state, state) -> None:
    """Somebody else holds the guest, or its user has to decide."""
    uuid = guest(state)

    cloud = looked_at(hypervisor, uuid, vm_state, CRASHED)

    assert cloud.asked == []
    assert cloud.saved == [{"power_state": int(state or PowerState.NOSTATE)}]


@pytest.mark.parametrize(
    ("vm_state", "state", "task"),
    [
        ("active", ON, None),
        ("stopped", OFF, None),
        ("suspended", OFF, None),
        ("active", OFF, "powering-off"),
        ("active", OFF, "migrating"),
    ],
)
def test_servers_that_are_left_alone(hypervisor, guest, vm_state, state, task) -> None:
    """Record and guest agree, or somebody is at work on it."""
    uuid = guest(state)

    cloud = looked_at(hypervisor, uuid, vm_state, state, task)

    assert (cloud.asked, cloud.saved) == ([], [])


def test_a_server_at_work_is_not_touched(hypervisor, guest) -> None:
    """What an operation does to the guest it reports itself."""
    uuid = guest(OFF)
    cloud = Cloud(uuid=uuid, host="node1", vm_state="active", task_state=None, power_state=1)
    cloud.is_busy = True

    sync(hypervisor, cloud).on_event(DomainEvent(uuid, "stopped", "shutdown"))
    sync(hypervisor, cloud).tick()

    assert (cloud.asked, cloud.saved) == ([], [])


def test_an_event_counts_at_once(hypervisor, guest) -> None:
    """A guest that powered itself off is stopped without waiting for the poll."""
    uuid = guest(OFF)
    cloud = Cloud(uuid=uuid, host="node1", vm_state="active", task_state=None, power_state=1)

    sync(hypervisor, cloud).on_event(DomainEvent(uuid, "stopped", "shutdown"))

    assert cloud.asked == [("stop_instance", "stop")]


@pytest.mark.parametrize("kind", ["stopped", "paused", "resumed"])
def test_a_guest_that_migrated_was_not_switched_off(hypervisor, guest, kind) -> None:
    """Its operation reports it, and the poll sees what nobody reported."""
    uuid = guest(OFF)
    cloud = Cloud(uuid=uuid, host="node1", vm_state="active", task_state=None, power_state=1)

    sync(hypervisor, cloud).on_event(DomainEvent(uuid, kind, "migrated"))
    assert (cloud.asked, cloud.saved) == ([], [])

    sync(hypervisor, cloud).tick()
    assert cloud.asked == [("stop_instance", "stop")]


def test_a_guest_that_lives_elsewhere_now(hypervisor, guest) -> None:
    """After a migration the other host speaks for it."""
    uuid = guest(OFF)
    cloud = Cloud(uuid=uuid, host="node2", vm_state="active", task_state=None, power_state=1)

    sync(hypervisor, cloud).check_uuid(uuid)

    assert (cloud.asked, cloud.saved) == ([], [])


def test_a_guest_without_server_is_a_stray(hypervisor, guest) -> None:
    """The poll hands it on; an event of it is no error."""
    uuid, strays = guest(ON), []

    watcher = sync(hypervisor, Cloud(), strays)
    watcher.tick()
    watcher.check_uuid(uuid)

    assert strays == [uuid]


def test_one_server_that_cannot_be_looked_at_does_not_stop_the_rest(hypervisor, guest) -> None:
    """Somebody else was faster with it: that is theirs."""
    uuid = guest(OFF)
    cloud = Cloud(uuid=uuid, host="node1", vm_state="active", task_state=None, power_state=1)
    strays: list[str] = []

    def refuse(*arguments, **more):
        raise UnexpectedTaskState("task_state is deleting")

    cloud.ask = refuse
    stray = guest(ON)
    sync(hypervisor, cloud, strays).tick()

    assert strays == [stray]
