"""The memory of finished requests."""

from __future__ import annotations

from nova_lite.engine import finished
from nova_lite.engine.finished import Finished, Outcome
from nova_lite.engine.key import Key


def key(number):
    return Key(f"req-{number}", "stop_instance", "s1")


def test_a_request_is_known_after_a_restart(tmp_path):
    """Another process finds it in the file."""
    Finished(tmp_path / "finished").add(key(1))

    successor = Finished(tmp_path / "finished")

    assert key(1) in successor
    assert key(2) not in successor


def test_old_requests_are_forgotten(tmp_path, monkeypatch):
    """Neither the memory nor the file grows without end, and the last ones are kept."""
    monkeypatch.setattr(finished, "REMEMBERED", 5)
    memory = Finished(tmp_path / "finished")
    for number in range(32):
        memory.add(key(number))

    for known in (memory, Finished(tmp_path / "finished")):
        assert key(26) not in known
        assert all(key(number) in known for number in range(27, 32))
    assert len((tmp_path / "finished").read_text().splitlines()) <= 10


def test_an_answer_may_end_with_the_boot(tmp_path):
    """What it tells of is gone; that the request was carried out stays known."""
    path = tmp_path / "finished"
    memory = Finished(path, "boot 1")
    memory.add(key(1), Outcome("plugged", boot="boot 1"))
    memory.add(key(2), Outcome("written"))

    same, other = Finished(path, "boot 1"), Finished(path, "boot 2")

    assert same.outcome(key(1)).answer == "plugged"
    assert not other.outcome(key(1)).known
    assert other.outcome(key(2)).answer == "written"


def test_a_torn_line_hurts_nobody(tmp_path):
    """A process killed while writing leaves half a line."""
    path = tmp_path / "finished"
    Finished(path).add(key(1))
    path.write_text(path.read_text() + '["req-2", "st')

    assert key(1) in Finished(path)


def test_a_full_disk_is_no_reason_to_forget_now(tmp_path):
    """What cannot be written is remembered as long as the process lives."""
    memory = Finished(tmp_path / "absent" / "finished")
    memory.add(key(1))

    assert key(1) in memory
