"""Verbs on an existing guest: what they fetch, and how they end when they fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from nova_lite.clock import USUAL
from nova_lite.errors import DomainNotFound, HypervisorError, ServerBeingDeleted
from nova_lite.failures import Failure
from nova_lite.model.states import PowerState
from nova_lite.operations.crash_dump import TriggerCrashDump
from nova_lite.operations.pause import Pause, Unpause
from nova_lite.operations.reboot import Reboot
from nova_lite.operations.start import Start
from nova_lite.operations.stop import Stop
from nova_lite.operations.suspend import Resume, Suspend
from nova_lite.services.work import Work
from nova_lite.steps.base import stages
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import ManualClock
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor


class Records:
    """Stands for the conductor: one server, and what was saved of it."""

    def __init__(self, **fields):
        self.fields, self.saved, self.faults, self.asked = fields, {}, [], 0

    def get(self, context, uuid):
        self.asked += 1
        return WireObject.new("Instance", "2.8", **self.fields)

    def save(self, context, instance, expected_task_state=None, **fields):
        self.saved |= fields

    def fault(self, context, uuid, failure):
        self.faults.append(failure.message)

    def note(self, uuid, **fields):
        pass


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def work(hypervisor: FakeHypervisor, tmp_path: Path):
    """Make the Work of a server whose guest is in a state (None: there is none)."""

    def make(state=PowerState.RUNNING, saved=False, loaded=True, **fields):
        spec = tiny_guest(tmp_path)
        if state is not None:
            hypervisor.define(spec)
            guest = hypervisor.guests[spec.uuid]
            guest.state, guest.saved = state, saved
        fields = {"uuid": spec.uuid, "vm_state": "active", "system_metadata": {}, **fields}
        fields["flavor"] = WireObject.new("Flavor", "1.2", extra_specs={}).primitive
        records = Records(**fields)
        tools = SimpleNamespace(
            instances=records,
            actions=records,
            claims=records,
            hypervisor=hypervisor,
            conf=SimpleNamespace(
                shutdown_timeout=0, compute=SimpleNamespace(shutdown_retry_interval=10)
            ),
            policy=SimpleNamespace(file_backed_memory_mb=0),
            usage_changed=lambda: None,
            clock=ManualClock(),
            pace=USUAL,
        )
        told = fields if loaded else {"uuid": spec.uuid}
        instance = WireObject.new("Instance", "2.8", **told)
        instance.clear_changes()
        notes: dict[str, object] = {}
        return Work(RequestContext.admin(), tools, instance, {}, notes, notes.update)

    return make


def carry_out(operation):
    """Load, and do all steps."""
    operation.load()
    for stage in stages(operation.plan()):
        for step in stage:
            step.do()
    return operation.tools.instances


@pytest.mark.parametrize("verb", [Stop, Pause, Suspend])
def test_a_request_that_tells_enough_is_believed(work, verb) -> None:
    """No look at the records before the verb, unless an earlier process began it."""
    assert carry_out(verb(work())).asked == 0
    assert carry_out(verb(work(loaded=False))).asked == 1
    resumed = work()
    resumed.resumed = True
    assert carry_out(verb(resumed)).asked == 1


def test_a_clock_that_was_held_is_set(work, hypervisor: FakeHypervisor) -> None:
    """After the guest runs again, not before."""
    carry_out(Unpause(work(PowerState.PAUSED, vm_state="paused")))

    done = [method for method, _ in hypervisor.calls]
    assert "sync_time" in done[done.index("resume") :]


def test_suspending_keeps_the_old_state(work) -> None:
    """It stays in system metadata beside all else that is there."""
    records = carry_out(Suspend(work(system_metadata={"image_os": "linux"})))

    assert records.saved["vm_state"] == "suspended"
    assert records.saved["power_state"] == PowerState.SHUTDOWN
    assert records.saved["system_metadata"] == {"image_os": "linux", "old_vm_state": "active"}


def test_the_old_state_is_not_lost_when_only_the_end_is_done_again(work) -> None:
    """The agent was killed after the save that made the server suspended."""
    done = work(
        PowerState.SHUTDOWN,
        saved=True,
        vm_state="suspended",
        system_metadata={"old_vm_state": "active"},
    )

    assert carry_out(Suspend(done)).saved["system_metadata"] == {"old_vm_state": "active"}


@pytest.mark.parametrize(
    ("vm_state", "metadata", "after"),
    [
        ("suspended", {"old_vm_state": "rescued"}, "rescued"),
        ("suspended", {}, "active"),
        ("rescued", {}, "rescued"),
    ],
)
def test_resuming_goes_back_to_the_old_state(work, vm_state, metadata, after) -> None:
    """Also when only the end is done again, and the old state is forgotten already."""
    operation = Resume(
        work(PowerState.SHUTDOWN, saved=True, vm_state=vm_state, system_metadata=metadata)
    )
    _, _, restore, report = stages(operation.plan())
    restore[0].do()
    report[0].do()

    saved = operation.tools.instances.saved
    assert (saved["vm_state"], saved["system_metadata"]) == (after, {})


@pytest.mark.parametrize(("interval", "asked"), [(10, 3), (25, 1), (1, 25)])
def test_a_guest_that_does_not_listen_is_asked_again(work, hypervisor, interval, asked) -> None:
    """[compute]shutdown_retry_interval; then its power is cut."""
    stopping = work()
    stopping.tools.conf.shutdown_timeout = 25
    stopping.tools.conf.compute.shutdown_retry_interval = interval
    hypervisor.ignores_acpi_shutdown.add(stopping.uuid)

    carry_out(Stop(stopping))

    assert [name for name, _ in hypervisor.calls].count("shutdown") == asked
    assert hypervisor.power_state(stopping.uuid) == PowerState.SHUTDOWN


FAILED = Failure.of(HypervisorError("internal error"))
OFF = PowerState.SHUTDOWN


@pytest.mark.parametrize(
    ("verb", "state", "saved", "vm_state"),
    [
        (Stop, PowerState.RUNNING, False, None),
        (Start, OFF, False, None),
        (Pause, PowerState.RUNNING, False, None),
        (Pause, OFF, False, "stopped"),
        (Pause, None, False, None),
        (Suspend, PowerState.RUNNING, False, None),
        (Suspend, OFF, False, "stopped"),
        (Resume, PowerState.RUNNING, False, None),
        (Resume, OFF, True, None),
        (Resume, OFF, False, "error"),
        (Resume, None, False, "error"),
        (Reboot, PowerState.RUNNING, False, None),
        (Reboot, OFF, False, "error"),
        (Reboot, None, False, "error"),
    ],
)
def test_a_failure_leaves_a_state_to_act_on(work, verb, state, saved, vm_state) -> None:
    """No task, a fault, and a vm_state that fits the guest; None: the one it had."""
    operation = verb(work(state, saved))
    if verb is Reboot:  # as it marks the server before it touches the guest
        operation.work.instance.data["task_state"] = "reboot_started_hard"

    operation.failed(FAILED)

    records = operation.tools.instances
    assert records.faults == ["internal error"]
    assert records.saved["task_state"] is None
    assert records.saved.get("vm_state") == vm_state


@pytest.mark.parametrize("verb", [Stop, Pause, TriggerCrashDump])
def test_a_server_that_is_being_deleted_is_left_alone(work, verb) -> None:
    """Whoever deletes it writes its end."""
    operation = verb(work())

    operation.failed(Failure.of(ServerBeingDeleted("deleting")))

    assert (operation.tools.instances.saved, operation.tools.instances.faults) == ({}, [])


def test_stopping_a_server_without_guest_succeeds(work) -> None:
    """There is nothing to stop; a start makes the guest anew."""
    records = carry_out(Stop(work(None)))

    assert records.saved["vm_state"] == "stopped"
    assert records.saved["power_state"] == PowerState.NOSTATE


def test_a_crash_dump_leaves_the_state_alone(work, hypervisor: FakeHypervisor) -> None:
    """Neither vm_state nor task state change, whether it works or not."""
    operation = TriggerCrashDump(work())
    records = carry_out(operation)
    operation.failed(Failure.of(DomainNotFound("no guest")))

    assert [method for method, _ in hypervisor.calls].count("inject_nmi") == 1
    assert (records.saved, records.faults) == ({}, ["no guest"])


def test_an_nmi_that_may_have_been_sent_is_not_sent_again(work) -> None:
    """The second one would end the dump that the first one began."""
    ((step,),) = TriggerCrashDump(work()).plan()

    assert step.done()
