"""Servers that somebody else left half done."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.membership.survey import Survey
from nova_lite.model.host import DomainInfo
from nova_lite.model.states import PowerState
from nova_lite.wire.objects import WireObject


class Recorder:
    """Stands for conductor nouns and engine alike: remembers what was asked of it."""

    def __init__(self):
        self.saved, self.faults, self.accepted = [], [], []

    def save(self, context, instance, **fields):
        self.saved.append((instance["uuid"], fields))

    def fault(self, context, uuid, failure):
        self.faults.append(uuid)

    def of_server(self, context, uuid):
        return []

    def begin(self, method, context, uuid, arguments):
        self.accepted.append((method, uuid))


def server(uuid="s1", **fields):
    return WireObject.new("Instance", "2.8", uuid=uuid, host="node1", **fields)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def look(recorder):
    def run(instance, state=None, resumed=frozenset(), resume_guests=False):
        conf = SimpleNamespace(host="node1", resume_guests_state_on_host_boot=resume_guests)
        domains = [DomainInfo(instance["uuid"], "d", state)] if state is not None else []
        Survey(conf, recorder, recorder, recorder, recorder).run([instance], domains, set(resumed))

    return run


def test_a_half_built_server_of_another_agent_ends_in_error(look, recorder):
    """As stock does it: nobody knows how far it got."""
    look(server(vm_state="building", task_state="spawning"))

    assert recorder.faults == ["s1"]
    assert recorder.saved == [("s1", {"vm_state": "error", "task_state": None})]


def test_a_resumed_operation_is_left_alone(look, recorder):
    """Its server was read before it went on; what was read may be old."""
    look(server(vm_state="building", task_state="spawning"), resumed={"s1"})

    assert (recorder.saved, recorder.faults, recorder.accepted) == ([], [], [])


@pytest.mark.parametrize(
    ("vm_state", "task", "method"),
    [
        ("active", "deleting", "terminate_instance"),
        ("error", "deleting", "terminate_instance"),
        ("active", "powering-off", "stop_instance"),
        ("stopped", "powering-on", "start_instance"),
        ("active", "rebooting", "reboot_instance"),
        ("active", "reboot_pending_hard", "reboot_instance"),
    ],
)
def test_what_was_asked_for_is_done_again(look, recorder, vm_state, task, method):
    """The user's request was lost with the agent that had it."""
    look(server(vm_state=vm_state, task_state=task), PowerState.RUNNING)

    assert recorder.accepted == [(method, "s1")]


def test_a_reboot_that_took_place_is_reported(look, recorder):
    """The guest runs: only the task is left to clear."""
    look(server(vm_state="active", task_state="reboot_started"), PowerState.RUNNING)

    assert recorder.saved[0][1]["task_state"] is None


def test_a_snapshot_that_was_cut_off_is_cleared(look, recorder):
    """The server goes on; the image stays for its owner to delete."""
    look(server(vm_state="active", task_state="image_uploading"), PowerState.RUNNING)

    assert recorder.saved == [("s1", {"task_state": None})]


@pytest.mark.parametrize("vm_state", ["error", "soft-delete"])
def test_servers_in_error_wait_for_their_user(look, recorder, vm_state):
    """Nothing is done to them on our own account."""
    look(server(vm_state=vm_state, task_state=None))

    assert (recorder.saved, recorder.accepted) == ([], [])


@pytest.mark.parametrize(("wanted", "methods"), [(True, ["reboot_instance"]), (False, [])])
def test_guests_come_back_after_a_host_boot_if_wanted(look, recorder, wanted, methods):
    """resume_guests_state_on_host_boot decides."""
    instance = server(vm_state="active", task_state=None, power_state=1)

    look(instance, PowerState.SHUTDOWN, resume_guests=wanted)

    assert [method for method, _ in recorder.accepted] == methods
