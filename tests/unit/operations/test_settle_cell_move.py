"""A move between cells that nobody goes on with, as the new host finds it when its agent starts.

The survey begins this: a stock agent was stopped in the middle, or nova-conductor was.
"""

from __future__ import annotations

import pytest

from nova_lite.clock import Clock
from nova_lite.engine.queues import Pool
from tests.unit.operations.test_cells import nothing_there
from tests.unit.operations.two_cells import SMALL, TwoCells


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def cells(tmp_path):
    """A server with a volume has come to the new cell."""
    return TwoCells(tmp_path, volume=True).moved()


def settle(cells, request="req-own"):
    """As the survey begins it."""
    cells.begin(
        "host2", "settle_move", request, image=None, disk_info="[]", request_spec=None,
        migration=cells.migration(cells.dest),
    )  # fmt: skip


def test_a_revert_is_carried_on_with(cells):
    """Users have the record of the old cell: the server is not to run here, whatever becomes of
    the rest. Nobody is asked for it: the old host is in another cell."""
    cells.to_revert()
    source = cells.look()["host1"]

    settle(cells)

    seen = nothing_there(cells)
    assert seen["host1"] == source
    assert seen["bindings"] == (["host1"], [])
    assert seen["cinder"] == [("reserved", None)]
    assert (seen["host2"]["migration"], seen["host2"]["faults"]) == (["reverted"], [])
    assert cells.last.tools.claims.servers() == frozenset()
    assert cells.last.tools.peers.sent == []


def test_nova_conductor_may_go_on_all_the_same(cells):
    """Its message comes when all is done: it is told so."""
    asked = cells.to_revert()
    settle(cells)
    before = cells.look()

    assert cells.call("host2", "revert_snapshot_based_resize_at_dest", **asked) is None

    assert cells.look() == before


def test_what_is_over_is_not_touched_again(cells):
    """The record may stay for ever; by now the server may be on a third host."""
    cells.to_revert()
    settle(cells)
    with cells.ledger.open() as content:
        content["bound"] = dict.fromkeys(content["bound"], "host2")
    before = cells.look()

    settle(cells, "req-later")

    assert cells.look() == before


def test_a_revert_that_nova_conductor_has_not_begun_is_to_be_asked_for_again(cells):
    """Users have the record of this cell, and the server: nobody else could say so."""
    cells.to_revert()
    cells.set(cells.dest, hidden=False)
    cells.set(cells.source, hidden=True)
    before = cells.look()

    settle(cells)

    seen = cells.look()
    (fault,) = seen["host2"].pop("faults")
    assert "revert the resize again" in fault and "host2" in fault
    assert seen["host2"].pop("record")[:3] == ("host2", "resized", None)
    assert seen["host2"].pop("migration") == ["finished"]
    assert before["host2"].items() >= seen["host2"].items()
    assert seen["host1"] == before["host1"]
    assert cells.guest("host2") == "RUNNING"


def test_nova_conductor_is_waited_for(cells, monkeypatch):
    """It may be between two saves at that moment."""
    cells.to_revert()
    cells.set(cells.dest, hidden=False)

    def wait(clock, waited_for, seconds):
        cells.set(cells.dest, hidden=True)
        return waited_for.wait(0)

    monkeypatch.setattr(Clock, "wait", wait)
    settle(cells)

    nothing_there(cells)


def test_an_arrival_that_was_cut_off_is_taken_back(tmp_path):
    """nova-conductor has given up by now, or does it soon; the server must not run twice."""
    cells = TwoCells(tmp_path, volume=True).moved()
    cells.set(cells.dest, vm_state="active", task_state="resize_migrated", hidden=True)
    cells.set(cells.source, hidden=False)

    settle(cells)

    seen = nothing_there(cells)
    assert seen["bindings"] == (["host1"], [])
    assert seen["host2"]["record"][:3] == ("host1", "error", None)
    assert seen["host2"]["migration"] == ["error"]
    (fault,) = seen["host2"]["faults"]
    assert "host2" in fault
    assert seen["host1"]["record"] == ("host1", "active", "resize_migrated", SMALL)
    assert cells.last.tools.claims.servers() == frozenset()
