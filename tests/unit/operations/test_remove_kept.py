"""What a move has left behind is removed once nobody can want it any more, and never before."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.unit.operations.resized import Resized


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def look_at(host):
    """As the loop begins it."""
    agent = host.agent()
    instance = WireObject.new("Instance", "2.8", uuid=host.server)
    agent.engine.begin("remove_kept", RequestContext.admin(), host.server, {"instance": instance})
    assert agent.engine.settle(60)
    return agent


@pytest.mark.parametrize("deleted", [True, False])
def test_what_nobody_wants_goes(tmp_path, deleted):
    """The server was deleted while this host was down, or is settled on the other one."""
    host = Resized(tmp_path, status="finished" if deleted else "confirmed", vm_state="active")
    host.set(deleted=deleted)

    agent = look_at(host)

    assert (host.disks(), host.hypervisor.guests) == ({}, {})
    assert agent.tools.claims.servers() == frozenset()
    assert host.look()["ended"] == []


def test_the_rest_of_a_removal_goes(tmp_path):
    """It was cut off."""
    host = Resized(tmp_path, status="confirmed", vm_state="active")
    host.kept.rename(host.kept.with_name(f"{host.kept.name}_del"))

    look_at(host)

    assert host.disks() == {}


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("finished", {}),
        ("confirming", {}),
        ("post-migrating", {"vm_state": "active", "task_state": "resize_migrated"}),
        ("reverted", {"task_state": "resize_reverting"}),
        ("error", {"vm_state": "error"}),
        ("reverted", {"vm_state": "error"}),
    ],
)
def test_what_somebody_may_want_stays(tmp_path, status, fields):
    """For a revert, or for an operator whose server has failed in the middle."""
    host = Resized(tmp_path, status=status, **fields)
    before = host.look()

    look_at(host)

    assert host.look() == before
    assert host.disks() == {"uuid_resize": "old"}


def test_what_another_host_may_keep_there_stays(tmp_path):
    """Hosts share the directory, and the server is about to move on from the other one."""
    host = Resized(tmp_path, status="confirmed", vm_state="active")
    host.files.mkdir()
    (host.files / "disk").write_text("new")

    look_at(host)

    assert host.disks() == {"uuid": "new", "uuid_resize": "old"}


def test_what_nobody_knows_stays(tmp_path):
    """It may be of another cloud."""
    host = Resized(tmp_path)
    with host.conductor.database() as tables:
        del tables["Instance"][host.server]

    look_at(host)

    assert host.disks() == {"uuid_resize": "old"}


def test_a_deleted_server_takes_what_was_kept_with_it(tmp_path):
    """Its resize on this host has failed, so that nova-api did not confirm it first."""
    host = Resized(tmp_path, dest="host1", status="error", vm_state="error",
                   task_state="deleting")  # fmt: skip

    host.run("terminate_instance", bdms=None)

    assert host.disks() == {}
    assert host.look()["deleted"]
