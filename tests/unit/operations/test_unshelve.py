"""An unshelve that cannot be carried out: who has the server then, and what is given back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import (
    DomainNotFound,
    PortBindingFailed,
    ServerBeingDeleted,
    ServerNotFound,
    UnexpectedTaskState,
)
from nova_lite.failures import Failure
from nova_lite.inventory.claims import Claims
from nova_lite.model.states import PowerState
from nova_lite.operations.unshelve import Unshelve
from nova_lite.services.events import EventHub
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

NO_PORT = Failure.of(PortBindingFailed("Binding failed for port p1"))


class World:
    """The record, the hypervisor, Placement and the image service in one."""

    def __init__(self, **record: Any) -> None:
        self.record = {"vm_state": "shelved_offloaded", "host": None, **record}
        self.guest: PowerState | None = None
        self.gone = False
        self.done: list[str] = []

    def get(self, context: Any, uuid: str, *attrs: Any) -> WireObject:
        if self.gone:
            raise ServerNotFound(f"Instance {uuid} could not be found.")
        obj = WireObject.new("Instance", "2.8", uuid=uuid, **self.record)
        obj.clear_changes()
        return obj

    def save(self, context: Any, instance: Any, *, expected_task_state: Any = None, **fields: Any):
        if expected_task_state and self.record["task_state"] not in expected_task_state:
            raise UnexpectedTaskState(str(self.record["task_state"]))
        self.record.update(fields)

    def fault(self, context: Any, uuid: str, failure: Failure) -> None:
        self.done.append(failure.message)

    def power_state(self, uuid: str) -> PowerState:
        if self.guest is None:
            raise DomainNotFound(f"no guest {uuid}")
        return self.guest

    def delete_allocations(self, uuid: str) -> None:
        self.done.append("allocation")

    def delete(self, context: Any, image_id: str) -> None:
        self.done.append(image_id)


def unshelve(world: World, *, resumed: bool = False, **notes: Any) -> Unshelve:
    tools = SimpleNamespace(
        instances=world, actions=world, hypervisor=world, placement=world, image_store=world,
        claims=Claims(), events=EventHub(), usage_changed=lambda: None, host="host1",
    )  # fmt: skip
    message = WireObject.new("Instance", "2.8", uuid="s1", availability_zone="az1")
    message.clear_changes()
    work = Work(
        RequestContext.admin(), tools, message, {"image": {"id": "shelf"}}, notes, notes.update,
        resumed=resumed,
    )  # fmt: skip
    return Unshelve(work)


@pytest.mark.parametrize(
    ("record", "taken"),
    [
        ({"host": "host1", "task_state": "spawning"}, True),
        ({"host": None, "task_state": "unshelving"}, False),
    ],
)
def test_it_is_offloaded_as_before(record, taken):
    """With a fault, no task and no allocation; the image is kept."""
    world = World(**record)

    unshelve(world, **({"taken": True} if taken else {})).failed(NO_PORT)

    assert world.done == [NO_PORT.message, "allocation"]
    fields = ("vm_state", "task_state", "host", "node", "compute_id", "availability_zone")
    assert [world.record[name] for name in fields] == ["shelved_offloaded"] + [None] * 5


def test_it_stays_where_its_guest_is():
    """A guest that could not be removed: no other host may make a second one."""
    world = World(host="host1", task_state="spawning")
    world.guest = PowerState.RUNNING

    unshelve(world, taken=True).failed(NO_PORT)

    assert (world.record["vm_state"], world.record["host"]) == ("error", "host1")
    assert world.done == [NO_PORT.message]


@pytest.mark.parametrize(
    ("record", "notes", "error"),
    [
        ({"host": "host2", "task_state": "spawning"}, {"taken": True}, PortBindingFailed("x")),
        ({"host": None, "task_state": "unshelving"}, {"taken": True}, PortBindingFailed("x")),
        ({"host": None, "task_state": None}, {}, UnexpectedTaskState("x")),
    ],
)
def test_what_is_somebody_else_s_is_left_alone(record, notes, error):
    """Another host's, one that was let go already and is asked for again, one that was not ours."""
    world = World(**record)
    before = dict(world.record)

    unshelve(world, **notes).failed(Failure.of(error))

    assert (world.record, world.done) == (before, [])


def test_one_that_is_deleted_meanwhile_leaves_nothing():
    """Neither allocation nor image, whether its record is still there or not."""
    being_deleted, gone = World(host="host1", task_state="deleting"), World()
    gone.gone = True
    for world in (being_deleted, gone):
        unshelve(world, taken=True).failed(Failure.of(ServerBeingDeleted("x")))
        assert world.done == ["allocation", "shelf"]


def test_a_resumed_one_keeps_off_another_host_s_server():
    """It was evacuated while the agent was dead."""
    world = World(host="host2", task_state=None, vm_state="active")

    with pytest.raises(UnexpectedTaskState):
        unshelve(world, resumed=True, taken=True).load()


def test_the_zone_of_the_message_is_saved_with_the_host():
    """The conductor has set it and leaves it to us to save it."""
    operation = unshelve(World(task_state="unshelving"))

    operation.load()

    assert operation.work.instance.changes == ["availability_zone"]
    assert operation.work.instance["availability_zone"] == "az1"
