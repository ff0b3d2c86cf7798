"""The journal survives what a process does not."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_lite.engine import entry as entry_module
from nova_lite.engine import journal as journal_module
from nova_lite.engine.journal import Journal
from nova_lite.errors import ImageNotFound, JournalError
from nova_lite.failures import Failure

REPOSITORY = Path(__file__).parents[3]


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


NEW = {"intent": intent(), "format": 99}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("damaged", lambda path: path.write_text('{"intent": []}\n')),
        ("no-request", lambda path: path.write_text('{"note": {}}\n')),
        ("incomplete", lambda path: path.write_text('{"intent": {"method": "x"}}\n')),
        ("garbage", lambda path: path.write_bytes(bytes(range(256)) + b"\n")),
        ("newer", lambda path: path.write_text(json.dumps(NEW) + "\n")),
        ("directory", lambda path: path.mkdir()),
        ("middle", lambda path: path.write_text(
            json.dumps({"intent": intent()}) + '\n{"no\n{"note": {"a": 1}}\n')),
        ("failure", lambda path: path.write_text(
            json.dumps({"intent": intent()}) + '\n{"failed": {"message": "x"}}\n')),
        ("signal", lambda path: path.write_text(
            json.dumps({"intent": intent()}) + '\n{"signal": "of the future"}\n')),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_set_aside(journal, caplog, name, make):
    """The host comes up, and the operator is told which file, and what to do with it."""
    good = journal.open(intent(1))
    path = journal.directory / f"00000000000000000000-{name}.journal"
    make(path)

    assert [entry.key for entry in journal.entries()] == [good.key]

    assert not path.exists()
    assert (journal.directory / "set-aside" / path.name).exists()
    (error,) = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert str(path) in error and "set aside" in error


def test_two_files_of_one_name_are_both_set_aside(journal):
    """None takes the other's place."""
    path = journal.directory / "00000000000000000001-x.journal"
    for _ in range(2):
        path.write_text("[]\n")
        assert list(journal.entries()) == []

    assert len(list((journal.directory / "set-aside").iterdir())) == 2


def test_a_failure_of_a_newer_agent_is_understood(journal):
    """What it knows in addition is left out."""
    failure = Failure.of(ImageNotFound("Image 42 is gone"))
    entry = journal.open(intent())
    with open(entry.path, "a") as file:
        file.write(json.dumps({"failed": {**failure.as_dict(), "colour": "green"}}) + "\n")
        file.write(json.dumps({"mood": "of the future"}) + "\n")

    (found,) = journal.entries()

    assert found.failure == failure


def test_lines_that_were_on_their_way_are_cut(journal):
    """A power failure leaves anything of what was not synced; what was is still there."""
    entry = journal.open(intent())
    entry.note(a=1)
    with open(entry.path, "ab") as file:
        file.write(b"\0\0\0\n" + b'{"begin": "x"}\n')

    (found,) = journal.entries()
    found.note(b=2)
    (again,) = journal.entries()

    assert again.notes == {"a": 1, "b": 2}
    assert again.begun == set()


def test_the_order_does_not_depend_on_the_clock(tmp_path):
    """A stop and then a start are resumed as they came, by whichever process they were taken."""
    for number in range(12):
        journal = Journal(tmp_path)
        journal.prepare()
        journal.open(intent(number))

    assert [e.server_uuid for e in Journal(tmp_path).entries()] == [
        f"server-{number}" for number in range(12)
    ]


def test_what_an_older_agent_left_comes_first(tmp_path):
    """Its files are named by the time; they are resumed, and no mark of theirs is believed."""
    journal = Journal(tmp_path, "boot-1")
    old = {**intent(0), "context": {}, "arguments": {}}
    path = tmp_path / f"{time.time_ns():020d}-000000-stop_instance.journal"
    path.write_text(json.dumps({"intent": old}) + '\n{"end": "power_off", "at": 1}\n')
    journal.open(intent(1))

    first, second = Journal(tmp_path, "boot-1").entries()

    assert (first.server_uuid, second.server_uuid) == ("server-0", "server-1")
    assert (first.ended, first.rebooted, second.rebooted) == (set(), True, False)


def test_a_promise_that_could_not_be_synced_is_none(journal, monkeypatch):
    """The request was refused: the next process must not carry it out."""

    def fail(directory):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal_module.durable, "sync", fail)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.open(intent())

    assert list(journal.directory.iterdir()) == []


def test_not_even_where_it_cannot_be_removed(journal, monkeypatch):
    """A file system that has become read-only keeps the name, but not the request."""

    def fail(directory):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(journal_module.durable, "sync", fail)
    monkeypatch.setattr(Path, "unlink", lambda path, **how: fail(path))
    with pytest.raises(JournalError):
        journal.open(intent())
    monkeypatch.undo()

    assert list(journal.entries()) == []


SECOND_AGENT = """
import sys
from pathlib import Path
from nova_lite.engine.journal import Journal
from nova_lite.errors import JournalError
try:
    Journal(Path(sys.argv[1])).lock()
except JournalError as error:
    print(error)
"""


def second_agent(journal):
    command = [sys.executable, "-c", SECOND_AGENT, str(journal.directory)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}
    ).stdout


def test_a_second_agent_is_refused(journal):
    """It would resume what the first is doing; the text says which process has the lock."""
    journal.lock()

    said = second_agent(journal)

    assert f"process {os.getpid()}" in said and "state_path" in said and "lock" in said


def test_the_lock_ends_with_the_process(journal):
    """However it ended."""
    assert second_agent(journal) == ""

    journal.lock()
