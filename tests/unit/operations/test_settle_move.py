"""A move that another agent has left half done is ended in the way that the records allow."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.operations.finish_resize import FinishResize
from nova_lite.operations.finish_revert_resize import FinishRevertResize
from nova_lite.operations.revert_resize import RevertResize
from nova_lite.operations.settle_move import SettleMove
from nova_lite.wire.objects import WireObject
from tests.unit.operations.resized import LARGE, MIGRATION, Resized


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.mark.parametrize(
    ("task", "status", "host", "verb"),
    [
        ("resize_migrated", "post-migrating", "host2", FinishResize),
        ("resize_reverting", "reverting", "host2", RevertResize),
        ("resize_reverting", "reverted", "host2", RevertResize),
        ("resize_reverting", "reverted", "host1", FinishRevertResize),
        ("resize_migrating", "migrating", "host1", SettleMove),
    ],
)
def test_the_records_say_what_is_next(task, status, host, verb):
    """A move from host1 to host2."""
    arguments = {
        "instance": WireObject.new("Instance", "2.8", host=host, task_state=task),
        "migration": WireObject.new("Migration", "1.8", status=status, source_compute="host1"),
    }
    assert SettleMove.variant(arguments) is verb


def leaving(directory, **fields):
    """A server that was to leave host1, whose files a stock agent has renamed."""
    host = Resized(directory, status="migrating", host="host1", node="host1", vm_state="active",
                   task_state="resize_migrating", **fields)  # fmt: skip
    with host.ledger.open() as content:
        content["bound"] = dict.fromkeys(content["ports"], "host1")
    return host


@pytest.mark.parametrize("ran", [True, False])
def test_a_server_that_was_to_leave_stays(tmp_path, ran):
    """As stock does it at its own start, with the allocations besides."""
    host = leaving(tmp_path, ran=ran)

    host.ask("settle_move")

    assert host.row() == ("host1", "active" if ran else "stopped", None, LARGE)
    assert host.forgotten()
    assert host.disks() == {"uuid": "old"}
    assert host.hypervisor.guests[host.server].state.name == ("RUNNING" if ran else "SHUTDOWN")
    assert host.migration()["status"] == "error"
    assert host.held() == {host.server: {"host1": {"VCPU": 1}}}


def test_nobody_chooses_between_two_copies(tmp_path):
    """One of them may be half."""
    host = leaving(tmp_path)
    host.files.mkdir()
    (host.files / "disk").write_text("half")

    host.ask("settle_move")

    assert host.disks() == {"uuid": "hal", "uuid_resize": "old"}
    assert host.row()[1:3] == ("error", None)
    assert "keep the right ones" in host.faults()[0]
    assert MIGRATION not in host.held()


@pytest.mark.parametrize(
    ("task", "status"), [("resize_migrated", "post-migrating"), ("resize_reverting", "reverting")]
)
def test_a_server_that_runs_in_another_cell_is_left_alone(tmp_path, task, status):
    """The database of its old cell still names the old host, where a second copy must not start,
    and where the only files for a revert are."""
    host = Resized(tmp_path, status=status, host="host1", node="host1", vm_state="active",
                   task_state=task)  # fmt: skip
    with host.conductor.database() as tables:
        tables["Migration"]["7"].update(cross_cell_move=True)
    before = host.row(), host.disks(), host.held(), host.migration()["status"]
    guest = host.hypervisor.guests[host.server].state

    host.ask("settle_move")

    assert (host.row(), host.disks(), host.held(), host.migration()["status"]) == before
    assert host.hypervisor.guests[host.server].state is guest
    assert "InstanceFault" not in host.conductor.read()
