"""Setting passwords: for whom, when not, and what is told."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from nova_lite.errors import (
    AnswerLost,
    GuestAgentNotEnabled,
    GuestAgentUnresponsive,
    HypervisorError,
    PasswordNotSet,
    PasswordUnsupported,
)
from nova_lite.operations.quiesce import Quiesce
from nova_lite.services.work import Work
from nova_lite.steps.base import stages
from nova_lite.steps.guest.agent import FreezeGuest, KeepFrozen, ReportPassword, SetPassword
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import ManualClock
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor

SECRET = "correct horse"


class Instances:
    def __init__(self):
        self.saved = []

    def save(self, context, instance, **fields):
        self.saved.append(fields)


@pytest.fixture
def hypervisor(tmp_path):
    made = FakeHypervisor()
    spec = tiny_guest(tmp_path, guest_agent=True)
    made.define(spec)
    made.start(spec.uuid)
    made.agents.add(spec.uuid)
    return made


def make_work(hypervisor, arguments=None, system_metadata=None, **fields):
    (uuid,) = hypervisor.guests
    instance = WireObject.new(
        "Instance", "2.8", uuid=uuid, image_ref="1", os_type=None, key_data=None,
        system_metadata=system_metadata or {"image_hw_qemu_guest_agent": "yes"},
    )  # fmt: skip
    instance.set(**fields)
    notes = {}
    tools = SimpleNamespace(hypervisor=hypervisor, instances=Instances(), clock=ManualClock())
    arguments = {"new_pass": SECRET} if arguments is None else arguments
    return Work(RequestContext({}), tools, instance, arguments, notes, notes.update)


def test_the_images_administrator_gets_the_password(hypervisor):
    """os_admin_user names the account."""
    work = make_work(
        hypervisor,
        system_metadata={"image_hw_qemu_guest_agent": "true", "image_os_admin_user": "cirros"},
    )
    SetPassword(work).do()
    ReportPassword(work).do()

    assert hypervisor.passwords == {(work.uuid, "cirros"): SECRET}
    (saved,) = work.tools.instances.saved
    assert saved == {"expected_task_state": ["updating_password", None], "task_state": None}


def test_without_the_images_promise_nothing_is_tried(hypervisor):
    """As stock: the image property decides, not the guest."""
    work = make_work(hypervisor, system_metadata={"image_hw_qemu_guest_agent": "no"})
    with pytest.raises(GuestAgentNotEnabled):
        SetPassword(work).do()
    assert hypervisor.passwords == {}


def test_a_guest_that_does_not_run_is_named(hypervisor):
    """It is off though the cloud believes otherwise."""
    work = make_work(hypervisor)
    hypervisor.crash(work.uuid)
    with pytest.raises(PasswordNotSet, match="is not running"):
        SetPassword(work).do()


def test_after_a_power_failure_there_is_no_password_any_more(hypervisor):
    """It was in memory only."""
    with pytest.raises(PasswordNotSet, match="lost power.*set it again"):
        SetPassword(make_work(hypervisor, arguments={})).do()


def test_a_silent_agent_is_not_implemented(hypervisor):
    """The API answers 501."""
    hypervisor.fail("set_password", GuestAgentUnresponsive("nobody answers"))
    with pytest.raises(PasswordUnsupported) as caught:
        SetPassword(make_work(hypervisor)).do()
    assert (caught.value.nova_name, caught.value.code) == ("NotImplementedError", 501)


def test_what_the_guest_says_of_the_password_stays_here(hypervisor, caplog):
    """The user reads a fixed text, the log the guest's without the password."""
    hypervisor.fail("set_password", HypervisorError(f"chpasswd: {SECRET}: too short"))
    with caplog.at_level(logging.ERROR), pytest.raises(PasswordNotSet) as caught:
        SetPassword(make_work(hypervisor)).do()
    assert SECRET not in str(caught.value) and "too short" not in str(caught.value)
    assert "chpasswd: ***: too short" in caplog.text and SECRET not in caplog.text


def test_a_key_that_cannot_seal_is_no_failure(hypervisor, caplog):
    """The password is set all the same; the metadata service just cannot tell it."""
    work = make_work(hypervisor, key_data="ssh-rsa nonsense")
    SetPassword(work).do()
    assert hypervisor.passwords
    assert "sealed_password" not in work.notes
    assert "key pair" in caplog.text


@pytest.mark.parametrize(("waited", "resumed"), [(60, False), (0, True)])
def test_a_guest_is_not_frozen_for_a_caller_who_gave_up(hypervisor, waited, resumed):
    """Nobody would ask for the thaw: it queued for too long, or the agent was killed."""
    work = make_work(hypervisor)
    work.arrived -= waited
    work.resumed = resumed
    with pytest.raises(AnswerLost, match="goes on writing"):
        Quiesce(work).load()
    FreezeGuest(work).do()
    with pytest.raises(AnswerLost):
        KeepFrozen(work).do()
    FreezeGuest(work).undo()
    assert hypervisor.frozen == set()


def test_a_caller_in_time_has_his_guest_frozen(hypervisor):
    """All steps of the plan, one after the other."""
    operation = Quiesce(make_work(hypervisor))
    operation.load()
    for (step,) in stages(operation.plan()):
        step.do()
    assert hypervisor.frozen == {operation.work.uuid}
