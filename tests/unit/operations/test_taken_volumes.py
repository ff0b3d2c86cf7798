"""Volumes that were detached behind Nova's back: no guest opens them again."""

from __future__ import annotations

import pytest

from nova_lite.model.states import PowerState
from tests.unit.operations.host import ATTACHMENT, VOLUME, Host
from tests.unit.operations.test_power_failures import REBUILD, RESCUE

VERBS = [
    ("start_instance", {}, "powering-on"),
    ("reboot_instance", {"reboot_type": "HARD", "block_device_info": None}, "rebooting_hard"),
    ("rebuild_instance", REBUILD, "rebuilding"),
    ("rescue_instance", RESCUE, "rescuing"),
]


@pytest.fixture
def host(tmp_path):
    """A server whose volume was taken from it in Cinder."""
    made = Host(tmp_path)
    made.boot()
    made.run("attach_volume", request="req-attach", bdm=made.reserve_volume())
    assert made.look()["volumes"] == ["in-use"]
    with made.ledger.open() as content:
        del content["cinder"]["attachments"][ATTACHMENT]
        content["cinder"]["volumes"][VOLUME].update(status="available", attach_status="detached")
    return made


def disks(host):
    return [disk.serial for disk in host.hypervisor.guests[host.server].spec.disks]


@pytest.mark.parametrize(("method", "arguments", "task"), VERBS)
def test_a_guest_starts_without_it(host, method, arguments, task):
    """Somebody else may write to it by now."""
    if method == "start_instance":
        host.hypervisor.guests[host.server].state = PowerState.SHUTDOWN
        host.set(vm_state="stopped")
    host.set(task_state=task)

    host.run(method, **arguments)

    assert host.look()["guest"] == "RUNNING"
    assert VOLUME not in disks(host)
    assert host.conductor.read()["BlockDeviceMapping"]["2"]["deleted"]
    if method == "rescue_instance":
        host.set(task_state="unrescuing")
        host.run("unrescue_instance", request="req-unrescue")
        assert host.look()["guest"] == "RUNNING"
        assert VOLUME not in disks(host)


def test_a_suspended_guest_is_not_resumed_with_it(host):
    """Its memory has the volume open; it stays suspended, with a fault that says the way out."""
    host.set(task_state="suspending")
    host.run("suspend_instance", request="req-suspend")
    host.set(task_state="resuming")

    host.run("resume_instance", request="req-resume")

    assert host.look()["vm_state"] == "suspended"
    assert host.hypervisor.guests[host.server].saved
    assert host.look()["faults"] == 1
