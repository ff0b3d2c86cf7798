"""A move that this agent refuses leaves migration, allocations and server as they were before."""

from __future__ import annotations

import logging
from contextlib import contextmanager

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import ControlPlaneUnavailable, PlacementError
from tests.fakes.cloud import FakePlacement
from tests.fakes.killed import Killed
from tests.unit.operations.host import Host

METHOD = "live_migration"
MIGRATION = "99999999-2222-3333-4444-555555555555"


def arguments():
    data = {"id": 7, "uuid": MIGRATION, "status": "accepted"}
    return {
        "migration": {
            "nova_object.name": "Migration", "nova_object.namespace": "nova",
            "nova_object.version": "1.8", "nova_object.data": data,
        }
    }  # fmt: skip


class Move(Host):
    """A server of this host that is to move: what it holds is the migration's, and the server holds
    what it would need on the other host."""

    def __init__(self, directory):
        super().__init__(directory)
        self.set(vm_state="active", task_state="migrating", host="host1", power_state=1)
        row = {
            "id": 7, "uuid": MIGRATION, "status": "accepted", "instance_uuid": self.server,
            "source_compute": "host1", "source_node": "host1", "dest_compute": "host2",
            "dest_node": "host2", "deleted": False,
        }  # fmt: skip
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": row}
        with self.ledger.open() as content:
            content["allocations"] = {self.server: {"other": {}}, MIGRATION: {"own": {"VCPU": 1}}}

    def seen(self):
        tables = self.conductor.read()
        row = tables["Instance"][self.server]
        return {
            "states": (row["vm_state"], row["task_state"]),
            "migration": tables["Migration"]["7"]["status"],
            "allocations": self.ledger.read()["allocations"],
            "faults": {fault["message"] for fault in tables.get("InstanceFault", {}).values()},
            "ended": {
                (event, message is None)
                for _, event, phase, message in tables.get("events", [])
                if phase == "finish"
            },
        }


@pytest.fixture
def move(tmp_path):
    return Move(tmp_path)


def undone(move):
    text = "Migration pre-check error: the compute host (nova_lite) does not support live migration"
    return {
        "states": ("active", None),
        "migration": "error",
        "allocations": {move.server: {"own": {"VCPU": 1}}},
        "faults": {f"{text} yet"},
        "ended": {("compute_live_migration", False)},
    }


def test_everything_is_as_before_the_move(move):
    """The migration is in error, and the server has its own allocation again."""
    move.run(METHOD, **arguments())

    assert move.seen() == undone(move)


def test_that_is_so_wherever_the_power_fails(tmp_path, monkeypatch):
    """Each part of it may be carried out again."""
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)  # the end of each agent is waited for
    boundaries = Move(tmp_path / "first").boundaries(METHOD, **arguments())
    assert boundaries

    for number, boundary in enumerate(boundaries):
        move = Move(tmp_path / str(number))
        move.power_fails(boundary, METHOD, **arguments())
        move.resume()
        # What was not promised yet is with the broker, which sends it again.
        move.run(METHOD, **arguments())
        assert move.seen() == undone(move), boundary


@pytest.mark.parametrize("lost", range(4))
def test_that_is_so_whichever_answer_of_the_conductor_is_lost(move, lost):
    """It is asked again, and nothing is done twice that must not be."""
    calls = 0
    real = move.conductor.object_call

    def counted(context, obj, method, **more):
        nonlocal calls
        answer = real(context, obj, method, **more)
        calls += 1
        if calls == lost:
            raise ControlPlaneUnavailable("no answer")
        return answer

    move.conductor.object_call = counted
    move.run(METHOD, **arguments())

    assert move.seen() == undone(move)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("calls", range(1, 9))
def test_that_is_so_after_whichever_call_the_agent_is_killed(move, calls):
    """What it has done is done again, or found done."""
    real, made = move.conductor.asked, 0

    @contextmanager
    def counted():
        nonlocal made
        with real() as tables:
            yield tables
        made += 1
        if made == calls:
            raise Killed

    agent = move.agent()
    move.conductor.asked = counted
    try:
        move.send(agent, METHOD, **arguments())
    except Killed:
        pass
    assert agent.engine.settle(60)
    move.conductor.asked = real

    move.resume()
    move.run(METHOD, **arguments())

    assert move.seen() == undone(move)


@pytest.mark.parametrize("open_one", [None, "77777777-9999-3333-4444-555555555555"])
def test_a_move_that_is_over_is_left_alone(move, open_one):
    """The message waited at the broker; what the server is about by now is somebody else's."""
    with move.conductor.database() as tables:
        row = tables["Migration"]["7"]
        row["status"] = "error"
        if open_one:
            tables["Migration"]["8"] = {**row, "id": 8, "uuid": open_one, "status": "pre-migrating"}
    before = move.seen()

    move.run(METHOD, **arguments())

    assert move.seen() == before


def test_a_refusal_is_no_error_in_the_log(move, caplog):
    """Nothing went wrong on this host."""
    move.run(METHOD, **arguments())

    assert "does not support live migration yet" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_what_placement_refuses_does_not_keep_the_rest(move, monkeypatch, caplog):
    """The server must not stay in its task state for ever."""

    def refused(*arguments):
        raise PlacementError("no")

    monkeypatch.setattr(FakePlacement, "move_allocations", refused)

    move.run(METHOD, **arguments())

    seen = move.seen()
    assert (seen["states"], seen["migration"]) == (("active", None), "error")
    assert "heal_allocations" in caplog.text


def test_an_older_move_that_was_left_open_is_no_obstacle(move):
    """An older agent has refused one and left it so; also for an agent that is killed."""
    with move.conductor.database() as tables:
        row = tables["Migration"]["7"]
        older = {**row, "id": 3, "uuid": "77777777-9999-3333-4444-555555555555"}
        tables["Migration"]["3"] = older
    move.conductor.save = lose(move.conductor.save)

    move.run(METHOD, **arguments())

    assert move.seen() == undone(move)
    assert move.conductor.read()["Migration"]["3"] == older


def lose(save):
    """The first answer is lost: it is asked again, when the migration is not open any more."""
    lost = []

    def saved(context, obj, /, **fields):
        save(context, obj, **fields)
        if not lost:
            lost.append(obj)
            raise ControlPlaneUnavailable("no answer")

    return saved
