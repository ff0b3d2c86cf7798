"""What a refused cast leaves behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.errors import MalformedMessage
from nova_lite.failures import Failure
from nova_lite.handlers.refusals import Refusals
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


class Records:
    """Actions and instances of the conductor, as a list of what was asked of them."""

    def __init__(self):
        self.log = []

    def start(self, context, uuid, event):
        self.log.append(("start", event))

    def finish(self, context, uuid, event, failure):
        self.log.append(("finish", event, failure.message))

    def fault(self, context, uuid, failure):
        self.log.append(("fault", failure.message))

    def save(self, context, instance, **fields):
        self.log.append(("save", instance.version, dict(instance.data), fields))


@pytest.fixture
def records():
    return Records()


@pytest.fixture
def refusals(records):
    tools = SimpleNamespace(actions=records, instances=records)
    return Refusals(tools, {"build_and_run_instance": "compute__do_build_and_run_instance"})


FAILURE = Failure.of(MalformedMessage("nonsense"))


def test_event_fault_and_a_clear_task_state(refusals, records):
    """In the version and with the fields that every conductor takes, whatever came."""
    instance = WireObject.new("Instance", "3.0", uuid="s1", id=4, vm_state="active", colour="red")

    refusals.report(RequestContext({}), instance, "freeze_instance", FAILURE)

    assert records.log == [
        ("start", "compute_freeze_instance"),
        ("fault", "nonsense"),
        ("save", "2.8", {"uuid": "s1", "id": 4}, {"task_state": None}),
        ("finish", "compute_freeze_instance", "nonsense"),
    ]


def test_a_server_that_cannot_be_built_is_in_error(refusals, records):
    """Under the event that the API and its clients know of a boot."""
    instance = WireObject.new("Instance", "2.8", uuid="s1", vm_state="building")

    refusals.report(RequestContext({}), instance, "build_and_run_instance", FAILURE)

    assert records.log[0] == ("start", "compute__do_build_and_run_instance")
    assert records.log[2][3] == {"task_state": None, "vm_state": "error"}


def test_a_move_that_goes_on_keeps_its_task_state(refusals, records):
    """Only what was asked of it is refused."""
    instance = WireObject.new("Instance", "2.8", uuid="s1", task_state="migrating")

    refusals.report(RequestContext({}), instance, "live_migration_abort", FAILURE)

    assert [entry[0] for entry in records.log] == ["start", "fault", "finish"]
