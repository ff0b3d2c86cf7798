"""A save whose answer got lost is told from a change that somebody else made."""

from __future__ import annotations

import pytest

from nova_lite.conductor.instances import Instances
from nova_lite.errors import ServerBeingDeleted, UnexpectedTaskState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

ADMIN = RequestContext.admin()
BUILDING = {
    "uuid": "u", "vm_state": "building", "task_state": "spawning", "launched_at": None,
    "system_metadata": {"a": "1"},
}  # fmt: skip
OURS = {"vm_state": "active", "task_state": None, "launched_at": "2026-01-01T00:00:00Z"}


class Conductor:
    """Refuses the save; the record is as given."""

    def __init__(self, record, *, asked_before=True, error=UnexpectedTaskState):
        self.record, self.error = record, error("task_state is not spawning")
        if asked_before:
            self.error.asked_before = True
        self.reads = []

    def object_call(self, context, obj, method, **kwargs):
        raise self.error

    def class_call(self, context, method, uuid, expected_attrs, use_slave):
        self.reads.append(expected_attrs)
        return WireObject.new("Instance", "2.8", **self.record)


def save(conductor, fields=OURS, before=BUILDING):
    instance = WireObject.new("Instance", "2.8", **before)
    instance.clear_changes()
    Instances(conductor).save(ADMIN, instance, expected_task_state=["spawning"], **fields)
    return instance


def test_the_record_is_as_the_first_attempt_made_it():
    """Then the save is carried out, and the instance as new as the record."""
    instance = save(Conductor({**BUILDING, **OURS, "updated_at": "2026-01-01T00:00:01Z"}))

    assert instance["vm_state"] == "active"
    assert instance["updated_at"] == "2026-01-01T00:00:01Z"
    assert instance.changes == []


def test_a_state_that_nobody_here_made():
    """Without an earlier attempt the record is not even read."""
    conductor = Conductor({**BUILDING, **OURS}, asked_before=False)

    with pytest.raises(UnexpectedTaskState):
        save(conductor)

    assert conductor.reads == []


@pytest.mark.parametrize(
    "record",
    [
        {**BUILDING, "task_state": "deleting"},
        {**BUILDING, **OURS, "vm_state": "error"},
        {**BUILDING, **OURS, "launched_at": "2025-12-31T23:59:59Z"},
    ],
    ids=["never saved", "another state", "another host's launch"],
)
def test_somebody_elses_record(record):
    """It stays a lost race."""
    with pytest.raises(UnexpectedTaskState):
        save(Conductor(record))


def test_the_user_was_faster_than_the_second_attempt():
    """The server is ACTIVE, and is being stopped by now: a boot must not be rolled back for it."""
    instance = save(Conductor({**BUILDING, **OURS, "task_state": "powering-off"}))

    assert (instance["vm_state"], instance["task_state"]) == ("active", "powering-off")


def test_a_task_state_alone_proves_nothing():
    """Whoever has set another one may have been first."""
    record = {**BUILDING, "task_state": "reboot_pending"}

    with pytest.raises(UnexpectedTaskState):
        save(Conductor(record), fields={"task_state": "reboot_started"})


def test_a_field_that_was_not_loaded_proves_nothing():
    """Nobody knows what it was before."""
    active = {"uuid": "u", "vm_state": "active", "task_state": "rebooting"}
    record = {**active, "task_state": "powering-off", "launched_at": OURS["launched_at"]}

    with pytest.raises(UnexpectedTaskState):
        save(Conductor(record), before=active)


def test_fields_of_other_tables_are_fetched_to_compare_them():
    """system_metadata is not in the record unless it is asked for."""
    fields = {**OURS, "system_metadata": {"a": "2"}}
    conductor = Conductor({**BUILDING, **fields})

    save(conductor, fields)

    assert conductor.reads == [["system_metadata"]]


def test_objects_are_not_compared():
    """The conductor gives them back with fields that we did not send."""
    topology = WireObject.new("InstanceNUMATopology", "1.3", cells=[])

    save(Conductor({**BUILDING, **OURS}), fields={**OURS, "numa_topology": topology})


def test_a_server_that_is_being_deleted_stays_that():
    """Whether or not the save came first."""
    with pytest.raises(ServerBeingDeleted):
        save(Conductor({**BUILDING, **OURS}, asked_before=False, error=ServerBeingDeleted))
