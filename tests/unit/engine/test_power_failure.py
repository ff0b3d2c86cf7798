"""The power fails at any boundary: only what was synced is left, and the world is asked."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError, ServerNotFound
from nova_lite.steps.base import NoWayBack
from tests.fakes.power_failure import DurableFiles
from tests.unit.engine.toys import STEPS, World, boundaries, kill_at, request, resume, run
from tests.unit.engine.toys import make_engine as engine_in


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.05)


@contextmanager
def power_failure(directory):
    """What the block leaves unsynced in ``directory`` is lost."""
    directory.mkdir(parents=True, exist_ok=True)
    files = DurableFiles(directory.resolve(), directory.with_suffix(".synced"))
    kept = os.fsync, os.fdatasync
    files.record()
    try:
        yield
    finally:
        os.fsync, os.fdatasync = kept
        files.lose_rest()


def power_fails_at(directory, world, boundary):
    with power_failure(directory):
        kill_at(directory, world, boundary)


def all_boundaries(tmp_path, **settings):
    return boundaries(tmp_path / "dry", World(**settings))


@pytest.mark.parametrize("lost", [(), ("first",), STEPS])
@pytest.mark.parametrize("fail_at", [None, "right"])
def test_it_ends_as_without_a_power_failure(tmp_path, fail_at, lost):
    """Whatever the steps had made, and however much of that the host has lost."""
    wanted = set() if fail_at else set(STEPS)
    for number, boundary in enumerate(all_boundaries(tmp_path, fail_at=fail_at)):
        directory, world = tmp_path / str(number), World(fail_at=fail_at)
        power_fails_at(directory, world, boundary)
        accepted = any(directory.glob("*.journal"))
        ended = boundary in ("operate:finished", "operate:closed")
        if not ended:
            world.exists -= set(lost)

        resume(directory, world, boot_id="boot-2")

        assert accepted
        assert world.exists == wanted, boundary
        assert (world.reported is not None) == bool(fail_at), boundary
        assert list(directory.glob("*.journal")) == [], boundary


def test_every_step_is_asked_in_order(tmp_path):
    """What had ended may be lost: a tap, a guest, a file."""
    world = World()
    power_fails_at(tmp_path / "a", world, "operate:last:begin")
    world.exists.discard("left")
    world.log.clear()

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert (world.asked[0], set(world.asked[1:3]), world.asked[3]) == (
        "first", {"left", "right"}, "last",
    )  # fmt: skip
    assert world.log == ["do left", "do last"]


def test_in_the_same_boot_marks_are_believed(tmp_path):
    """The page cache outlives a process: only the step in doubt is asked."""
    world = World()
    kill_at(tmp_path, world, "operate:last:begin")
    world.log.clear()

    resume(tmp_path, world)

    assert (world.asked, world.log) == (["last"], ["do last"])


def test_after_a_kill_in_the_new_boot_its_marks_are_believed(tmp_path):
    """What this boot has written is as true as ever."""
    world = World()
    power_fails_at(tmp_path / "a", world, "operate:last:begin")
    second = engine_in(tmp_path / "a", world, boot_id="boot-2")
    (entry,) = second._journal.entries()
    for phase in ("begin", "end"):
        entry.mark(phase, "first")

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert "first" not in world.asked
    assert "last" in world.asked


def test_a_rollback_undoes_what_it_may_have_begun(tmp_path):
    """Marks are lost: also a step that the journal knows nothing of is undone."""
    world = World(fail_at="left")
    power_fails_at(tmp_path / "a", world, "operate:failed")
    world.log.clear()

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.log == ["undo last", "undo right", "undo left", "undo first"]


def test_what_was_taken_back_is_not_taken_back_again(tmp_path):
    """By then the API knows, and another host may have the server."""
    world = World(fail_at="last")
    power_fails_at(tmp_path / "a", world, "operate:reported")
    world.log.clear()
    world.reported = None

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.log == []
    assert world.reported is not None


def test_a_closed_operation_that_is_back_is_closed_by_its_key(tmp_path):
    """The removal of its file was not synced, but that it is finished was."""
    world = World()
    power_fails_at(tmp_path / "a", world, "operate:closed")
    assert any((tmp_path / "a").glob("*.journal"))
    world.exists.clear()

    successor = resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.exists == set()
    assert request(successor) is None


def test_a_passed_point_of_no_return_is_remembered(tmp_path):
    """Nothing before it is undone, in whatever boot it fails."""
    world = World(end=NoWayBack("because"), after=("final",), fail_at="final")
    power_fails_at(tmp_path / "a", world, "operate:final:begin")

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.exists == set(STEPS)
    assert world.past_return


def test_what_the_record_says_is_done_is_not_rolled_back(tmp_path):
    """The journal says that it failed; the world says that it came true all the same."""
    world = World(end=NoWayBack("it is active", lambda: True), succeeded=True, fail_at="last")
    power_fails_at(tmp_path / "a", world, "operate:failed")

    engine = resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.exists == {"first", "left", "right"}
    assert world.reported is None
    assert engine.seen_events[-1] == ("finish", None)
    assert list((tmp_path / "a").glob("*.journal")) == []


def test_a_boot_id_that_is_not_known_is_believed_to_be_another(tmp_path):
    """An entry of an agent that did not write it; a kernel that does not tell it."""
    for before, after in (("", "boot-1"), ("boot-1", ""), ("", "")):
        world = World()
        directory = tmp_path / f"{before}-{after}"
        kill_at(directory, world, "operate:last:begin", boot_id=before)

        resume(directory, world, boot_id=after)

        assert "first" in world.asked, (before, after)


@pytest.mark.parametrize("error", [ServerNotFound("gone"), RuntimeError("a bug")])
def test_a_rollback_loads_first_but_does_not_depend_on_it(tmp_path, error):
    """The server was deleted while the host was off: what was made is taken back."""
    world = World(fail_at="last", error=HypervisorError("no memory"))
    power_fails_at(tmp_path / "a", world, "operate:failed")
    world.loads, world.load_error = 0, error

    resume(tmp_path / "a", world, boot_id="boot-2")

    assert world.loads == 1
    assert world.exists == set()
    assert world.reported.message == "no memory"


def test_what_was_not_synced_was_never_promised(tmp_path):
    """The helper itself: appended lines are cut, new names are gone, removed ones are back."""
    directory = tmp_path / "a"
    directory.mkdir()
    (directory / "old").write_text("old")
    world = World()
    with power_failure(directory):
        engine = engine_in(directory, world)
        entry = request(engine)
        entry.mark("begin", "first")
        (directory / "new").write_text("new")
        (directory / "old").unlink()

    (journal,) = directory.glob("*.journal")
    assert len(journal.read_text().splitlines()) == 1
    assert (directory / "old").read_text() == "old"
    assert not (directory / "new").exists()
    run(engine_in(directory, world), 2)
