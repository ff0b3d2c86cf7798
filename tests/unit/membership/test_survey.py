"""Servers that somebody else left half done."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from nova_lite.errors import DomainNotFound
from nova_lite.membership.survey import Survey
from nova_lite.model.host import DomainInfo
from nova_lite.model.states import PowerState
from nova_lite.rpc.endpoint import VERBS
from nova_lite.wire.objects import WireObject


class Recorder:
    """Stands for conductor nouns, hypervisor and engine: remembers what was asked of it.

    ``now`` is the server's record when it is read again, ``state`` its guest's; ``before`` runs
    before what is queued for the server, as a message that waited does.
    """

    def __init__(self):
        self.saved, self.faults, self.accepted, self.read = [], [], [], []
        self.now = self.state = self.migration = None
        self.before = lambda: None

    def save(self, context, instance, expected_task_state, **fields):
        assert expected_task_state == [self.now.get("task_state")]
        instance.set(**fields)
        self.now = instance
        self.saved.append((instance["uuid"], fields))

    def fault(self, context, uuid, failure):
        self.faults.append(uuid)

    def of_server(self, context, uuid):
        return []

    def begin(self, method, context, uuid, arguments):
        self.accepted.append((method, uuid))

    def get(self, context, uuid, expected_attrs):
        self.read.append(uuid)
        return WireObject(copy.deepcopy(self.now.primitive))

    def latest_of_server(self, context, uuid):
        return self.migration

    def domains(self):
        return [] if self.state is None else [DomainInfo("s1", "d", self.state)]

    def power_state(self, uuid):
        if self.state is None:
            raise DomainNotFound(uuid)
        return self.state

    def after(self, uuid, label, job):
        self.before()
        job()


def server(uuid="s1", **fields):
    return WireObject.new("Instance", "2.8", uuid=uuid, **{"host": "node1", **fields})


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def look(recorder):
    def run(instance, state=None, resumed=frozenset(), resume_guests=False):
        conf = SimpleNamespace(host="node1", resume_guests_state_on_host_boot=resume_guests)
        recorder.now, recorder.state = instance, state
        survey = Survey(conf, VERBS, recorder, recorder, recorder, recorder, recorder, recorder)
        survey.settle(survey.unsettled([instance], set(resumed)))

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
    ("fields", "state", "restarted"),
    [
        ({"vm_state": "active"}, PowerState.SHUTDOWN, True),
        ({"vm_state": "active"}, None, True),
        ({"vm_state": "active"}, PowerState.RUNNING, False),
        ({"vm_state": "error"}, PowerState.SHUTDOWN, False),
        ({"vm_state": "active", "task_state": "powering-off"}, PowerState.SHUTDOWN, False),
        ({"vm_state": "active", "host": "node2"}, PowerState.SHUTDOWN, False),
    ],
)
def test_a_guest_whose_resumed_operation_has_not_started_it_is(recorder, fields, state, restarted):
    """resume_guests_state_on_host_boot is about all servers of this host, and about no others."""
    instance = server(power_state=1)
    instance.set(**fields)
    recorder.now, recorder.state = instance, state
    conf = SimpleNamespace(host="node1", resume_guests_state_on_host_boot=True)

    survey = Survey(conf, VERBS, recorder, recorder, recorder, recorder, recorder, recorder)
    survey.restore_power({"s1"})

    assert recorder.accepted == ([("reboot_instance", "s1")] if restarted else [])


@pytest.mark.parametrize(
    ("vm_state", "task", "method"),
    [
        ("active", "deleting", "terminate_instance"),
        ("error", "deleting", "terminate_instance"),
        ("deleted", None, "terminate_instance"),
        ("active", "powering-off", "stop_instance"),
        ("error", "powering-off", "stop_instance"),
        ("stopped", "powering-on", "start_instance"),
        ("active", "suspending", "suspend_instance"),
        ("active", "rescuing", "unrescue_instance"),
        ("error", "rescuing", "unrescue_instance"),
        ("rescued", "unrescuing", "unrescue_instance"),
        ("suspended", "resuming", "resume_instance"),
        ("shelved", "shelving_offloading", "shelve_offload_instance"),
        ("active", "soft-deleting", "soft_delete_instance"),
        ("soft-delete", "restoring", "restore_instance"),
        ("soft-delete", "deleting", "terminate_instance"),
        ("active", "reboot_pending", "reboot_instance"),
        ("active", "reboot_pending_hard", "reboot_instance"),
        ("error", "reboot_pending_hard", "reboot_instance"),
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


@pytest.mark.parametrize("vm_state", ["rescued", "resized"])
def test_a_reboot_that_was_not_begun_changes_nothing_else(look, recorder, vm_state):
    """Its user can still unrescue it, or confirm or revert its resize."""
    look(server(vm_state=vm_state, task_state="rebooting_hard"), PowerState.RUNNING)

    assert [(fields["vm_state"], fields["task_state"]) for _, fields in recorder.saved] == [
        (vm_state, None)
    ]


@pytest.mark.parametrize("task", ["rebooting", "rebooting_hard", "pausing", "unpausing"])
def test_what_was_not_begun_is_cleared_while_the_guest_runs(look, recorder, task):
    """As stock does it: the request may still wait at the broker."""
    look(server(vm_state="active", task_state=task), PowerState.RUNNING)

    assert recorder.accepted == []
    assert recorder.saved == [
        ("s1", {"vm_state": "active", "task_state": None, "power_state": PowerState.RUNNING})
    ]


@pytest.mark.parametrize(
    ("vm_state", "task", "state", "method"),
    [
        ("active", "pausing", PowerState.PAUSED, "pause_instance"),
        ("paused", "unpausing", PowerState.PAUSED, "unpause_instance"),
        ("active", "suspending", PowerState.SHUTDOWN, "suspend_instance"),
        ("active", "rebooting", PowerState.SHUTDOWN, "reboot_instance"),
        ("stopped", "rebooting_hard", None, "reboot_instance"),
    ],
)
def test_what_was_begun_is_ended(look, recorder, vm_state, task, state, method):
    """The guest is not what it was before: what made it so is done to its end."""
    look(server(vm_state=vm_state, task_state=task), state)

    assert recorder.accepted == [(method, "s1")]


def test_a_task_that_is_not_known_is_left_alone(look, recorder):
    """Two hosts may be at work on it."""
    look(server(vm_state="active", task_state="a task of tomorrow"), PowerState.RUNNING)

    assert (recorder.saved, recorder.accepted) == ([], [])


@pytest.mark.parametrize(
    "task", ["image_uploading", "shelving", "shelving_image_pending_upload"]
)
def test_a_snapshot_that_was_cut_off_is_cleared(look, recorder, task):
    """The server goes on; the image stays for its owner to delete."""
    look(server(vm_state="active", task_state=task), PowerState.RUNNING)

    assert recorder.saved == [("s1", {"task_state": None})]


@pytest.mark.parametrize("vm_state", ["error", "soft-delete"])
def test_servers_in_error_wait_for_their_user(look, recorder, vm_state):
    """Nothing is done to them on our own account."""
    look(server(vm_state=vm_state, task_state=None))

    assert (recorder.saved, recorder.accepted) == ([], [])


@pytest.mark.parametrize(("wanted", "methods"), [(True, ["reboot_instance"]), (False, [])])
@pytest.mark.parametrize("state", [PowerState.SHUTDOWN, PowerState.CRASHED, None])
def test_guests_come_back_after_a_host_boot_if_wanted(look, recorder, state, wanted, methods):
    """resume_guests_state_on_host_boot decides, also for a guest that libvirt has lost."""
    instance = server(vm_state="active", task_state=None, power_state=1)

    look(instance, state, resume_guests=wanted)

    assert [method for method, _ in recorder.accepted] == methods


def test_a_guest_comes_back_after_its_snapshot_was_cut_off(look, recorder):
    """The host went down in the middle of a snapshot: both ends of it are seen to."""
    instance = server(vm_state="active", task_state="image_uploading", power_state=1)

    look(instance, PowerState.SHUTDOWN, resume_guests=True)

    cleared, asked = ("s1", {"task_state": None}), ("s1", {"task_state": "rebooting_hard"})
    assert recorder.saved == [cleared, asked]
    assert recorder.accepted == [("reboot_instance", "s1")]


@pytest.mark.parametrize(
    ("vm_state", "power"),
    [("suspended", 4), ("stopped", 4), ("paused", 3)],
)
def test_guests_that_did_not_run_stay_off_after_a_host_boot(look, recorder, vm_state, power):
    """A suspended server keeps its memory until its user resumes it."""
    instance = server(vm_state=vm_state, task_state=None, power_state=power)

    look(instance, PowerState.SHUTDOWN, resume_guests=True)

    assert (recorder.saved, recorder.accepted) == ([], [])


def test_servers_that_ask_for_nothing_cost_no_call(look, recorder):
    """Most of them, at every start."""
    look(server(vm_state="active", task_state=None, power_state=1), PowerState.RUNNING)

    assert recorder.read == []


@pytest.mark.parametrize(
    ("vm_state", "task"), [("active", "rebuilding"), ("active", "powering-off")]
)
def test_a_message_that_waited_is_carried_out_and_not_overtaken(look, recorder, vm_state, task):
    """It was before the survey in the server's queue; the record is read again after it."""
    done = server(vm_state="active", task_state=None, power_state=1)
    recorder.before = lambda: setattr(recorder, "now", done)

    look(server(vm_state=vm_state, task_state=task), PowerState.RUNNING)

    assert recorder.read == ["s1"]
    assert (recorder.saved, recorder.faults, recorder.accepted) == ([], [], [])


def test_a_server_that_left_meanwhile_is_left_alone(look, recorder):
    """It was evacuated while this host started."""
    recorder.before = lambda: recorder.now.data.update(host="node2")

    look(server(vm_state="active", task_state="rebuilding"), PowerState.RUNNING)

    assert (recorder.saved, recorder.faults, recorder.accepted) == ([], [], [])


def test_a_rebuild_whose_message_was_lost_ends_in_error(look, recorder):
    """Nobody knows how far a stock agent came."""
    look(server(vm_state="active", task_state="rebuild_spawning"), PowerState.RUNNING)

    assert recorder.saved == [("s1", {"vm_state": "error", "task_state": None})]


@pytest.mark.parametrize(
    ("task", "saved"),
    [
        ("resize_migrating", []),
        ("resize_migrated", []),
        ("resize_reverting", []),
        ("resize_finish", [("s1", {"task_state": "resize_migrated"})]),
    ],
)
def test_a_move_that_was_cut_off_goes_on(look, recorder, task, saved):
    """A stock agent was stopped in it; its migration says what is to be done."""
    recorder.migration = WireObject.new("Migration", "1.8", id=7)

    look(server(vm_state="active", task_state=task), PowerState.SHUTDOWN)

    assert recorder.accepted == [("settle_move", "s1")]
    assert recorder.saved == saved


def test_a_move_without_its_migration_is_an_error(look, recorder):
    """Nobody can tell where the server is to go."""
    look(server(vm_state="resized", task_state="resize_reverting"), PowerState.SHUTDOWN)

    assert recorder.faults == ["s1"]
    assert recorder.saved == [("s1", {"vm_state": "error", "task_state": None})]


def test_a_live_migration_that_nobody_goes_on_with_is_settled(look, recorder):
    """Both hosts are asked where the guest is, which takes longer than a start may."""
    look(server(vm_state="active", task_state="migrating"), PowerState.RUNNING)

    assert (recorder.saved, recorder.accepted) == ([], [("settle_live_migration", "s1")])
