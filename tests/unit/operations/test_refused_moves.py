"""Moves that this agent refuses leave migration, allocations and server as they were before."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import ControlPlaneUnavailable, PlacementError
from tests.fakes.cloud import FakePlacement
from tests.unit.operations.host import RECORDED, Host, Killed

MIGRATION = "99999999-2222-3333-4444-555555555555"
RETRY = {"retry": {"num_attempts": 1, "hosts": [["host1", "host1"]]}}
HOSTS = [{"service_host": "host3"}]


def migration(status="pre-migrating", **fields):
    data = {"id": 7, "uuid": MIGRATION, "status": status, **fields}
    return {
        "nova_object.name": "Migration", "nova_object.namespace": "nova",
        "nova_object.version": "1.8", "nova_object.data": data,
    }  # fmt: skip


def arguments(method, status, *, properties=RETRY, hosts=HOSTS):
    flavor = {
        "nova_object.name": "Flavor", "nova_object.namespace": "nova",
        "nova_object.version": "1.2", "nova_object.data": {"id": 1},
    }  # fmt: skip
    asked = {"migration": migration(status)}
    if method == "prep_resize":
        asked |= {
            "flavor": flavor, "request_spec": {}, "filter_properties": properties,
            "clean_shutdown": True, "host_list": hosts, "image": {}, "node": "host1",
        }  # fmt: skip
    return asked


# method, task state, status of the migration, where the server is
MOVES = [
    ("prep_resize", "resize_prep", "pre-migrating", "host2"),
    ("resize_instance", "resize_prep", "pre-migrating", "host1"),
    ("live_migration", "migrating", "accepted", "host1"),
]


class Move(Host):
    """A server in the middle of a move: what it holds is the migration's, and the server holds what
    it would need on the other host."""

    def begin(self, task_state, status, where):
        self.set(vm_state="stopped", task_state=task_state, host=where, power_state=4)
        row = {
            "id": 7, "uuid": MIGRATION, "status": status, "instance_uuid": self.server,
            "source_compute": where, "source_node": where, "dest_compute": "host1",
            "dest_node": "host1", "deleted": False,
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
            "casts": [cast["method"] for cast in tables.get("casts", [])],
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


def undone(move, method, what):
    text = f"Migration pre-check error: the compute host (nova_lite) does not support {what} yet"
    return {
        "states": ("stopped", None),
        "migration": "error",
        "allocations": {move.server: {"own": {"VCPU": 1}}},
        "casts": [],
        "faults": {text},
        "ended": {(f"compute_{method}", False)},
    }


WHAT = {"live_migration": "live migration"}
COLD = "resize and cold migration"


@pytest.mark.parametrize(("method", "task", "status", "where"), MOVES)
def test_everything_is_as_before_the_move(move, method, task, status, where):
    """The migration is in error, and the server has its own allocation again."""
    move.begin(task, status, where)

    move.run(method, **arguments(method, status, hosts=[]))

    assert move.seen() == undone(move, method, WHAT.get(method, COLD))


@pytest.mark.parametrize(("method", "task", "status", "where"), MOVES)
def test_that_is_so_wherever_the_power_fails(tmp_path, monkeypatch, method, task, status, where):
    """Each part of it may be carried out again."""
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)  # the end of each agent is waited for
    asked = arguments(method, status, hosts=[])
    first = Move(tmp_path / "first")
    first.begin(task, status, where)
    boundaries = first.boundaries(method, **asked)
    assert boundaries

    for number, boundary in enumerate(boundaries):
        move = Move(tmp_path / str(number))
        move.begin(task, status, where)
        move.power_fails(boundary, method, **asked)
        move.resume()
        # What was not promised yet is with the broker, which sends it again.
        move.run(method, **asked)
        assert move.seen() == undone(move, method, WHAT.get(method, COLD)), boundary


@pytest.mark.parametrize("lost", range(4))
def test_that_is_so_whichever_answer_of_the_conductor_is_lost(move, lost):
    """It is asked again, and nothing is done twice that must not be."""
    move.begin("resize_prep", "pre-migrating", "host2")
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
    move.run("prep_resize", **arguments("prep_resize", "pre-migrating", hosts=[]))

    assert move.seen() == undone(move, "prep_resize", COLD)


def test_the_next_host_is_tried(move):
    """As nova-compute hands a move over: with the hosts that are left, the migration still open."""
    move.begin("resize_prep", "pre-migrating", "host2")

    move.run("prep_resize", **arguments("prep_resize", "pre-migrating"))

    seen = move.seen()
    assert seen["states"] == ("stopped", "resize_prep")
    assert seen["migration"] == "pre-migrating"
    assert seen["allocations"] == {move.server: {"own": {"VCPU": 1}}}
    (cast,) = move.conductor.read()["casts"]
    asked = cast["arguments"]
    assert (cast["method"], asked["live"], asked["rebuild"]) == ("migrate_server", False, False)
    (recorded, *_) = json.loads((RECORDED.parent / "migrate_server.json").read_text())
    assert asked.keys() == recorded["request"]["args"].keys()
    assert asked["host_list"] == HOSTS
    retry = asked["scheduler_hint"]["filter_properties"]["retry"]
    assert retry["hosts"] == RETRY["retry"]["hosts"]
    assert "does not support" in retry["exc"][0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_is_handed_over_once(move):
    """An agent that is killed after the cast does not know whether it was sent; the conductor has
    given the allocation to the migration again, which must stay so."""
    move.begin("resize_prep", "pre-migrating", "host2")
    asked = arguments("prep_resize", "pre-migrating")
    cast = move.conductor.task_cast

    def killed(*arguments, **more):
        cast(*arguments, **more)
        raise Killed

    move.conductor.task_cast = killed
    agent = move.agent()
    move.send(agent, "prep_resize", **asked)
    agent.engine.settle(10)
    move.conductor.task_cast = cast
    with move.ledger.open() as content:
        allocations = content["allocations"]
        allocations[MIGRATION] = allocations.pop(move.server)
        allocations[move.server] = {"host3": {"VCPU": 1}}

    move.resume()

    seen = move.seen()
    assert seen["casts"] == ["migrate_server"]
    assert seen["migration"] == "pre-migrating"
    assert seen["allocations"] == {
        MIGRATION: {"own": {"VCPU": 1}}, move.server: {"host3": {"VCPU": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("properties", [{}, None])
def test_a_host_that_was_named_has_no_next_one(move, properties):
    """Without a retry in the request nobody else is asked."""
    move.begin("resize_prep", "pre-migrating", "host2")

    asked = arguments("prep_resize", "pre-migrating", properties=properties)
    move.run("prep_resize", **asked)

    assert move.seen() == undone(move, "prep_resize", COLD)


@pytest.mark.parametrize("method", ["confirm_resize", "revert_resize"])
def test_a_resize_of_another_agent_can_still_be_ended(move, method):
    """It is finished, as it was: the other agent confirms or reverts it when it is back."""
    status = {"confirm_resize": "confirming", "revert_resize": "reverting"}[method]
    move.begin("resize_reverting" if method == "revert_resize" else None, status, "host1")
    move.set(vm_state="resized")

    move.run(method, **arguments(method, status))

    seen = move.seen()
    assert (seen["states"], seen["migration"]) == (("resized", None), "finished")
    assert MIGRATION in seen["allocations"]


def test_a_server_whose_disks_have_come_is_in_error(move):
    """Its guest is off, and the host it came from has given it away."""
    move.begin("resize_migrated", "post-migrating", "host1")

    move.run("finish_resize", **arguments("finish_resize", "post-migrating"))

    seen = move.seen()
    assert (seen["states"], seen["migration"]) == (("error", None), "error")


@pytest.mark.parametrize("open_one", [None, "77777777-9999-3333-4444-555555555555"])
def test_a_move_that_is_over_is_left_alone(move, open_one):
    """The message waited at the broker; what the server is about by now is somebody else's."""
    move.begin("resize_prep", "pre-migrating", "host2")
    with move.conductor.database() as tables:
        row = tables["Migration"]["7"]
        row["status"] = "error"
        if open_one:
            tables["Migration"]["8"] = {**row, "id": 8, "uuid": open_one, "status": "pre-migrating"}
    before = move.seen()

    move.run("prep_resize", **arguments("prep_resize", "pre-migrating"))

    assert move.seen() == before


def test_a_refusal_is_no_error_in_the_log(move, caplog):
    """Nothing went wrong on this host."""
    move.begin("resize_prep", "pre-migrating", "host1")

    move.run("resize_instance", **arguments("resize_instance", "pre-migrating"))

    assert "does not support resize and cold migration yet" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("calls", range(1, 9))
def test_that_is_so_after_whichever_call_the_agent_is_killed(move, calls):
    """What it has done is done again, or found done."""
    move.begin("resize_prep", "pre-migrating", "host2")
    asked = arguments("prep_resize", "pre-migrating", hosts=[])
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
        move.send(agent, "prep_resize", **asked)
    except Killed:
        pass
    agent.engine.settle(10)
    move.conductor.asked = real

    move.resume()
    move.run("prep_resize", **asked)

    assert move.seen() == undone(move, "prep_resize", COLD)


def test_what_placement_refuses_does_not_keep_the_rest(move, monkeypatch, caplog):
    """The server must not stay in its task state for ever."""
    move.begin("resize_prep", "pre-migrating", "host1")

    def refused(*arguments):
        raise PlacementError("Placement answers 400")

    monkeypatch.setattr(FakePlacement, "move_allocations", refused)
    move.run("resize_instance", **arguments("resize_instance", "pre-migrating"))

    seen = move.seen()
    assert (seen["states"], seen["migration"]) == (("stopped", None), "error")
    assert f"stays with migration {MIGRATION}" in caplog.text


def test_an_older_move_that_was_left_open_is_no_obstacle(move):
    """An older agent has refused one and left it so; also for an agent that is killed."""
    move.begin("resize_prep", "pre-migrating", "host1")
    with move.conductor.database() as tables:
        row = tables["Migration"]["7"]
        older = {**row, "id": 3, "uuid": "77777777-9999-3333-4444-555555555555"}
        tables["Migration"]["3"] = older
    asked = arguments("resize_instance", "pre-migrating")
    move.conductor.save = lose(move.conductor.save)

    move.run("resize_instance", **asked)

    assert move.seen() == undone(move, "resize_instance", COLD)
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
