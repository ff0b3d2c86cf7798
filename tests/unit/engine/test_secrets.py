"""Secrets of requests outlive the process, but not the machine, and are on no disk."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from nova_lite.engine import secrets
from nova_lite.engine.finished import Finished, Outcome
from nova_lite.engine.journal import Journal
from nova_lite.engine.key import Key
from nova_lite.engine.secrets import SecretFiles
from nova_lite.errors import JournalError

SECRET = "hush-Korrekt-Pferd"
INTENT = {
    "request_id": "req-1",
    "method": "build_and_run_instance",
    "server": "s1",
    "subject": "",
    "context": {"auth_token": SECRET},
    "arguments": {"admin_password": SECRET, "injected_files": [["/a", SECRET]], "host_list": []},
}
PLAIN = {**INTENT, "context": {}, "arguments": {}}


class Host:
    """State directory and memory of a host."""

    def __init__(self, directory):
        self.state, self.memory = directory / "journal", directory / "run"
        self.files = SecretFiles(self.memory, self.state)

    def journal(self):
        """That of a new process."""
        self.files = SecretFiles(self.memory, self.state)
        made = Journal(self.state, "boot-1", self.files)
        made.prepare()
        return made

    def on_disk(self):
        return b"".join(p.read_bytes() for p in self.state.rglob("*") if p.is_file()).decode()

    def in_memory(self):
        return [path for path in self.memory.rglob("*") if path.is_file()]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_they_are_in_memory_only(host):
    """For the agent alone; the journal has their names."""
    host.journal().open(INTENT)

    assert SECRET not in host.on_disk()
    assert '"secrets": ["admin_password", "auth_token", "injected_files"]' in host.on_disk()
    (file,) = host.in_memory()
    assert SECRET in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_they_are_there_before_the_promise(host, monkeypatch):
    """A process killed in between has promised nothing, and leaves nothing."""
    journal = host.journal()

    class Killed(BaseException):
        pass

    def kill(*unused):
        raise Killed

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(Killed):
        journal.open(INTENT)
    monkeypatch.undo()

    assert len(host.in_memory()) == 1
    assert list(host.journal().entries()) == []
    assert host.in_memory() == []


def test_the_next_process_has_them(host):
    """Whole, as if nothing had happened."""
    host.journal().open(INTENT)

    (entry,) = host.journal().entries()

    assert (entry.intent, entry.lost) == (INTENT, set())


def test_after_a_power_failure_they_are_lost(host):
    """The operation is told which; what it had is null."""
    host.journal().open(INTENT)
    shutil.rmtree(host.memory)

    (entry,) = host.journal().entries()

    assert entry.lost == {"auth_token", "admin_password", "injected_files"}
    assert entry.intent["arguments"]["admin_password"] is None
    assert entry.intent["context"] == {"auth_token": None}


@pytest.mark.parametrize("content", ["", "[", "{}", '[[["arguments", "x"], 1]]', "[1]"])
def test_damaged_ones_are_lost(host, content):
    """Nothing of them is believed."""
    host.journal().open(INTENT)
    host.in_memory()[0].write_text(content)

    (entry,) = host.journal().entries()

    assert entry.lost == {"auth_token", "admin_password", "injected_files"}


def test_they_end_with_the_operation(host):
    """Also one that another process has begun."""
    journal = host.journal()
    journal.open(INTENT).close()
    assert host.in_memory() == []
    journal.open(INTENT)

    for entry in host.journal().entries():
        entry.close()

    assert host.in_memory() == []


def test_a_request_without_secrets_has_no_file(host):
    """And has lost none."""
    host.journal().open(PLAIN)
    shutil.rmtree(host.memory)

    (entry,) = host.journal().entries()

    assert (entry.lost, entry.kept_apart) == (set(), set())


def test_those_of_a_set_aside_operation_stay(host):
    """A newer agent may go on with it."""
    journal = host.journal()
    entry = journal.open(INTENT)
    journal.set_aside(entry.path, "it is of a newer agent")

    assert list(host.journal().entries()) == []

    assert len(host.in_memory()) == 1


def test_agents_with_other_journals_share_the_directory(tmp_path):
    """They do not sweep each other's secrets."""
    one, two = Host(tmp_path / "one"), Host(tmp_path / "two")
    two.memory = one.memory
    one.journal().open(INTENT)

    assert list(two.journal().entries()) == []

    (entry,) = one.journal().entries()
    assert entry.lost == set()


def test_a_directory_that_was_removed_is_made_again(host):
    """Nothing is refused because somebody cleaned up in /run."""
    journal = host.journal()
    shutil.rmtree(host.memory)

    journal.open(INTENT)

    (entry,) = host.journal().entries()
    assert entry.lost == set()


def test_without_a_place_in_memory_nothing_is_promised(host):
    """The broker keeps the message."""
    journal = host.journal()
    shutil.rmtree(host.memory)
    host.memory.write_text("a file")

    with pytest.raises(JournalError, match="runtime_path"):
        journal.open(INTENT)

    assert list(host.state.glob("*")) == []


def test_what_cannot_be_promised_leaves_no_secret(host, monkeypatch):
    """The disk is full."""
    journal = host.journal()
    monkeypatch.setattr("nova_lite.engine.journal.durable.sync", fail)

    with pytest.raises(JournalError):
        journal.open(INTENT)

    assert host.in_memory() == []


def fail(*unused):
    raise OSError(28, "No space left on device")


def test_an_operation_of_an_older_agent_has_its_secrets(host):
    """Its journal has them in the clear, and ends with the operation."""
    journal = host.journal()
    journal.open(PLAIN)
    (file,) = host.state.glob("*.journal")
    old = file.read_text().replace('"secrets": [], ', "").replace('"format": 3', '"format": 2')
    file.write_text(old.replace('"arguments": {}', '"arguments": {"new_pass": "x"}'))

    (entry,) = host.journal().entries()

    assert (entry.intent["arguments"], entry.lost) == ({"new_pass": "x"}, set())


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o710])
def test_the_journal_is_for_the_agent_alone(host, mode):
    """Whatever has opened it to others is undone."""
    host.state.mkdir(mode=mode, parents=True)
    host.state.chmod(mode)

    host.journal()

    assert stat.S_IMODE(host.state.stat().st_mode) == 0o700


def test_a_directory_of_somebody_else_is_refused(host, monkeypatch):
    """The service user of stock owns the state path, and might make one."""
    host.journal()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    with pytest.raises(JournalError, match="is not a directory of user 4711"):
        host.journal()


def test_a_link_is_refused(host, tmp_path):
    """Who owns the directory above decides where it leads."""
    (tmp_path / "elsewhere").mkdir()
    host.state.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JournalError, match="is not a directory"):
        host.journal()


@pytest.mark.parametrize("kind", ["ext4", ""])
def test_a_runtime_directory_that_is_on_a_disk_is_told(host, monkeypatch, caplog, kind):
    """As in a container whose /run is a part of its image."""
    monkeypatch.setattr(secrets, "file_system", lambda path: kind)

    host.journal()

    assert "not in memory" in caplog.text


def test_file_systems_are_known_by_their_mounts():
    """The innermost counts."""
    assert secrets.file_system(secrets.Path("/proc/self")) == "proc"
    assert secrets.file_system(secrets.Path("/dev/shm")) == "tmpfs"


def test_answers_on_disk_hold_no_secret(tmp_path):
    """The caller of this process gets it all; who asks again after a restart does without."""
    data = {"id": 5, "connection_info": SECRET}
    answer = {"nova_object.name": "BlockDeviceMapping", "nova_object.data": data}
    key = Key("req-1", "reserve_block_device_name", "s1", "v1")

    finished = Finished(tmp_path / "finished")
    finished.add(key, Outcome(answer))

    assert SECRET not in (tmp_path / "finished").read_text()
    assert finished.outcome(key).answer == answer
    again = Finished(tmp_path / "finished").outcome(key).answer
    assert again["nova_object.data"] == {"id": 5, "connection_info": None}
