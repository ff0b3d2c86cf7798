"""Moves to another cell whose hosts are killed, or lose power, at any boundary.

nova-conductor gets no answer then, and takes the move back, sooner or later than the host is up
again; what ends a move it does not take back.
"""

from __future__ import annotations

import os
import shutil

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.loops.lost_arrivals import LostArrivals
from tests.unit.operations.host import Host
from tests.unit.operations.test_cells import (
    CONFIRM,
    FINISH,
    FINISH_REVERT,
    PREP_DEST,
    PREP_SOURCE,
    REVERT,
    as_before,
    nothing_there,
)
from tests.unit.operations.two_cells import LARGE, SMALL, TwoCells


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def copied(directory):
    cells = TwoCells(directory, volume=True)
    cells.copy()
    return cells, "host2", cells.prep()


def ready_to_leave(directory):
    cells, _, _ = copied(directory)
    cells.prep_dest()
    return cells, "host1", cells.ready_source()


def ready_to_come(directory):
    cells, _, arguments = ready_to_leave(directory)
    cells.call("host1", PREP_SOURCE, **arguments)
    return cells, "host2", cells.ready_dest()


def to_confirm(directory):
    cells = TwoCells(directory, volume=True).moved()
    return cells, "host1", {"migration": cells.migration(cells.source)}


def to_revert(directory):
    cells = TwoCells(directory, volume=True).moved()
    return cells, "host2", cells.to_revert()


def to_finish_revert(directory):
    cells, _, arguments = to_revert(directory)
    cells.call("host2", REVERT, **arguments)
    cells.forget(cells.dest)
    return cells, "host1", {"migration": cells.migration(cells.source)}


def disturbed(tmp_path, prepare, method, disturb, between=lambda cells: None, every=1):
    """The cells after each disturbance, and the boundary; the host is up again.

    :param between: what happens while it is down
    :param every: sample of the boundaries; POWER_FAILURES=all takes all
    """
    dry, name, arguments = prepare(tmp_path / "dry")
    seen = []
    dry.call(name, method, seen.append, **arguments)
    if disturb is Host.power_fails:
        seen = [boundary for boundary in seen if boundary.endswith(":end")]
        every = 3
    else:  # what is before a step is after another one
        seen = [boundary for boundary in seen if not boundary.endswith(":begin")]
    assert len(seen) > 2
    if os.environ.get("POWER_FAILURES") != "all":
        seen = [*seen[:-1][::every], seen[-1]]
    shutil.rmtree(tmp_path / "dry")
    for number, boundary in enumerate(seen):
        cells, name, arguments = prepare(tmp_path / str(number))
        disturb(cells.hosts[name], boundary, method, **arguments)
        between(cells)
        agent = cells.last = cells.hosts[name].agent()
        agent.engine.resume()
        assert agent.engine.settle(60)
        yield boundary, cells
        shutil.rmtree(tmp_path / str(number))


@pytest.mark.parametrize("disturb", [Host.killed, Host.power_fails])
def test_a_host_that_is_asked_claims_nothing(tmp_path, disturb):
    """It does not know whether its answer came through; the record says the rest."""
    for boundary, cells in disturbed(tmp_path, copied, PREP_DEST, disturb):
        assert cells.last.tools.claims.servers() == frozenset(), boundary
        assert cells.look()["host2"]["journal"] == [], boundary


@pytest.mark.parametrize("disturb", [Host.killed, Host.power_fails])
def test_a_server_has_left_or_is_as_before(tmp_path, disturb):
    """Nothing in between: the save is the point of no return."""
    ends = set()
    for boundary, cells in disturbed(tmp_path, ready_to_leave, PREP_SOURCE, disturb):
        seen = cells.look()
        ends.add(seen["host1"]["record"][2])
        if seen["host1"]["record"][2] == "resize_migrated":
            assert seen["bindings"] == (["host2"], ["host1"]), boundary
            assert seen["cinder"] == [("reserved", None), ("reserved", None)], boundary
            assert (seen["host1"]["guest"], seen["host1"]["connected"]) == ("SHUTDOWN", 0)
            assert (seen["host1"]["taps"], seen["host1"]["journal"]) == (0, []), boundary
        elif disturb is Host.killed or seen["host1"]["faults"]:
            off = ("RUNNING", "SHUTDOWN") if disturb is Host.power_fails else ("RUNNING",)
            as_before(cells, off)
            assert seen["cinder"] == [("attached", "host1"), ("reserved", None)], boundary
            assert seen["host1"]["migration"] == ["error"], boundary
    assert ends >= {None, "resize_migrated"}


@pytest.mark.parametrize("disturb", [Host.killed, Host.power_fails])
def test_a_server_is_there_or_nothing_is(tmp_path, disturb):
    """nova-conductor has not given up yet when the host is up again."""
    for boundary, cells in disturbed(tmp_path, ready_to_come, FINISH, disturb):
        seen = cells.look()
        if seen["host2"]["record"][1] == "resized":
            assert seen["host2"]["record"] == ("host2", "resized", None, LARGE), boundary
            assert (seen["host2"]["guest"], seen["host2"]["taps"]) == ("RUNNING", 1), boundary
            assert cells.last.tools.claims.here() <= {cells.server}
        else:
            nothing_there(cells)
            assert cells.last.tools.claims.servers() == frozenset(), boundary
            assert seen["bindings"][0] == ["host1" if seen["host2"]["faults"] else "host2"]


def tick(cells, name="host2"):
    """The agent looks for servers that were taken back."""
    agent = cells.agent(name)
    LostArrivals(agent.tools, agent.engine).tick()
    assert agent.engine.settle(60)
    return agent


def test_nothing_is_there_when_nova_conductor_has_given_up(tmp_path):
    """It has deleted the record."""
    for boundary, cells in disturbed(
        tmp_path, ready_to_come, FINISH, Host.killed, TwoCells.give_up, every=3
    ):
        if boundary.endswith(":closed"):  # it was answered
            tick(cells)
        seen = cells.look()
        there = (seen["host2"]["guest"], seen["host2"]["taps"], seen["host2"]["files"])
        assert there == (None, 0, []), boundary
        assert seen["host2"]["journal"] == [], boundary
        assert cells.last.tools.claims.servers() == frozenset(), boundary


@pytest.mark.parametrize("disturb", [Host.killed, Host.power_fails])
@pytest.mark.parametrize(
    ("prepare", "method"),
    [(to_confirm, CONFIRM), (to_revert, REVERT), (to_finish_revert, FINISH_REVERT)],
)
def test_what_ends_a_move_ends_as_undisturbed(tmp_path, prepare, method, disturb):
    """What has begun is ended."""
    dry, name, arguments = prepare(tmp_path / "wanted")
    dry.call(name, method, **arguments)
    wanted = dry.look()
    wrong = {}
    for boundary, cells in disturbed(tmp_path, prepare, method, disturb):
        if disturb is Host.power_fails:  # a message that was not promised comes again
            cells.call(name, method, **arguments_of(cells, name, arguments))
        found = cells.look()
        if disturb is Host.power_fails and boundary.endswith(("record_back:end", "reverted:end")):
            # All was recorded: it is off as any other server of the host.
            assert found["host1"]["record"] == wanted["host1"]["record"]
            continue
        if found != wanted:
            wrong[boundary] = {k: (v, wanted[k]) for k, v in found.items() if v != wanted[k]}

    assert wrong == {}
    assert wanted[name]["record"][3] in (SMALL, LARGE)


def arguments_of(cells, name, arguments):
    return {**arguments, "migration": cells.migration(cells.hosts[name])}


@pytest.mark.parametrize(
    ("prepare", "method"),
    [(ready_to_leave, PREP_SOURCE), (ready_to_come, FINISH), (to_finish_revert, FINISH_REVERT)],
)
def test_lost_answers_of_the_cell_s_conductor_change_nothing(tmp_path, prepare, method):
    """What it was asked is done, and is seen to be done; nothing is taken back."""
    dry, name, arguments = prepare(tmp_path / "wanted")
    steps = []
    assert dry.call(name, method, steps.append, **arguments) is None
    wanted, wrong = dry.look(), {}
    for number, boundary in enumerate(step for step in steps if step.endswith(":begin")):
        cells, name, arguments = prepare(tmp_path / str(number))
        conductor = cells.hosts[name].conductor

        def lose(passed, boundary=boundary, conductor=conductor):
            if passed == boundary:
                conductor.lose_answer = True

        answer = cells.call(name, method, lose, **arguments)
        conductor.lose_answer = False
        if answer is not None or cells.look() != wanted:
            wrong[boundary] = (answer, cells.look())
        shutil.rmtree(tmp_path / str(number))

    assert wrong == {}


# --- nova-conductor gives up when all was answered ----------------------------------------------
def noted(cells):
    return [path.name for path in (cells.dest.state / "nova-lite/cell-arrivals").glob("*")]


def test_what_is_taken_back_later_is_removed(tmp_path):
    """Its record is gone, and it goes on in the old cell: guest, tap, volume, files and claim."""
    cells, name, arguments = ready_to_come(tmp_path)
    assert cells.call(name, FINISH, **arguments) is None
    cells.give_up()

    agent = tick(cells)

    nothing_there(cells)
    assert agent.tools.claims.servers() == frozenset()
    assert noted(cells) == []


def test_what_is_taken_over_stays(tmp_path):
    """It is a server like any other from then on; until then it is left alone."""
    cells, name, arguments = ready_to_come(tmp_path)
    cells.call(name, FINISH, **arguments)
    tick(cells)
    assert (cells.guest("host2"), noted(cells)) == ("RUNNING", [cells.server])

    cells.take_over()
    tick(cells)
    cells.forget(cells.dest)
    tick(cells)

    assert (cells.guest("host2"), noted(cells)) == ("RUNNING", [])


def test_what_is_noted_holds_no_secret(tmp_path):
    """It is on a disk; what leads to a volume may be a password."""
    cells, name, arguments = ready_to_come(tmp_path)
    cells.set(cells.dest, user_data="c2VjcmV0")
    cells.call(name, FINISH, **arguments)

    text = (cells.dest.state / "nova-lite/cell-arrivals" / cells.server).read_text()
    assert "c2VjcmV0" not in text
    assert "device_path" not in text


def test_a_claim_of_a_server_that_does_not_come_is_released(tmp_path):
    """The old host has failed, and nobody tells the new one; one that may come is kept."""
    cells, _, _ = copied(tmp_path)
    cells.prep_dest()
    agent = cells.last
    loop = LostArrivals(agent.tools, agent.engine)

    loop.tick()
    assert agent.tools.claims.coming() == {cells.server}

    cells.give_up()
    loop.tick()
    assert agent.tools.claims.servers() == frozenset()


def test_a_server_that_has_given_back_is_not_noted(tmp_path):
    """Whatever nova-conductor does with its record."""
    cells, name, arguments = to_revert(tmp_path)

    cells.call(name, REVERT, **arguments)

    assert noted(cells) == []
