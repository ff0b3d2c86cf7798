"""The journal survives what a process does not."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite.engine import entry as entry_module
from nova_lite.engine.journal import Journal
from nova_lite.errors import ImageNotFound, JournalError
from nova_lite.failures import Failure


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal")
    made.prepare()
    return made


def intent(number=1, method="build_and_run_instance"):
    return {"request_id": f"req-{number}", "method": method, "server": f"server-{number}"}


def test_entries_come_back_in_order_of_arrival(journal):
    """What was promised first is resumed first."""
    for number in range(3):
        journal.open(intent(number))

    assert [e.server_uuid for e in journal.entries()] == ["server-0", "server-1", "server-2"]


def test_notes_and_boundaries_are_replayed(journal):
    """A new process knows what the old one found out and how far it got."""
    entry = journal.open(intent())
    entry.note(ports=["a"])
    entry.mark("begin", "disks")
    entry.mark("end", "disks")
    entry.mark("begin", "guest")

    (found,) = journal.entries()

    assert found.notes == {"ports": ["a"]}
    assert (found.begun, found.ended) == ({"disks", "guest"}, {"disks"})
    assert found.resumed


def test_failure_is_replayed(journal):
    """A rollback that was cut off goes on as a rollback, with the same fault for the user."""
    failure = Failure.of(ImageNotFound("Image 42 is gone"))
    journal.open(intent()).fail(failure)

    (found,) = journal.entries()

    assert found.failure == failure


def test_a_torn_last_line_is_dropped_and_overwritten(journal):
    """A line cut in the middle was never promised, and must not spoil the next one."""
    entry = journal.open(intent())
    entry.note(a=1)
    with open(entry.path, "a") as file:
        file.write('{"note": {"b"')

    (found,) = journal.entries()
    found.note(c=3)
    (again,) = journal.entries()

    assert again.notes == {"a": 1, "c": 3}


def test_a_torn_intent_is_no_promise(journal, tmp_path):
    """An entry without a whole intent was never acknowledged: the broker sends it again."""
    path = tmp_path / "journal" / "00000000000000000001-000000-stop_instance.journal"
    path.write_text('{"intent": {"requ')

    assert list(journal.entries()) == []
    assert not path.exists()


def test_closed_entries_leave_nothing(journal, tmp_path):
    """An operation that is over leaves no file."""
    entry = journal.open(intent())
    entry.mark("begin", "x")
    entry.close()

    assert list((tmp_path / "journal").iterdir()) == []


def test_only_the_agent_can_read_it(journal, tmp_path):
    """The request holds a token."""
    entry = journal.open(intent())

    assert stat.S_IMODE(entry.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


def test_a_journal_that_cannot_be_written_says_where(tmp_path):
    """Nothing is promised, and the error names the path and the remedy."""
    journal = Journal(tmp_path / "missing")

    with pytest.raises(JournalError, match=r"missing.*free space"):
        journal.open(intent())


def test_steps_of_one_stage_write_at_the_same_time(tmp_path, monkeypatch):
    """Each thread of a resumed operation finds the file closed; it is opened once."""
    opened = []

    def slow_open(*args, **kwargs):
        opened.append(args)
        time.sleep(0.05)  # long enough for the others to come
        return open(*args, **kwargs)

    journal = Journal(tmp_path / "journal")
    journal.prepare()
    entry = journal.open(intent())
    monkeypatch.setattr(entry_module, "open", slow_open, raising=False)
    steps = {"step0", "step1", "step2", "step3"}

    with ThreadPoolExecutor(len(steps)) as workers:
        list(workers.map(lambda step: entry.mark("begin", step), steps))

    assert len(opened) == 1
    monkeypatch.undo()
    (found,) = journal.entries()
    assert found.begun == steps
