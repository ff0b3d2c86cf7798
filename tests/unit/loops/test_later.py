"""Many life-cycle events at once, looked at by few threads."""

from __future__ import annotations

import threading
import time

import pytest

from nova_lite.loops.later import Later
from nova_lite.loops.power_sync import PowerSync
from nova_lite.model.host import DomainEvent
from tests.fakes.hypervisor import FakeHypervisor

SOON = 0.05


@pytest.fixture
def later():
    return Later(workers=2)


class Seen:
    """Jobs that tell of themselves; ``together``: how many ran at once, at most."""

    def __init__(self, takes=0.0):
        self.done, self.together = [], 0
        self._running, self._takes = 0, takes
        self._changed = threading.Condition()

    def job(self, name):
        def run():
            with self._changed:
                self._running += 1
                self.together = max(self.together, self._running)
            time.sleep(self._takes)
            with self._changed:
                self._running -= 1
                self.done.append(name)
                self._changed.notify_all()

        return run

    def wait_for(self, number):
        with self._changed:
            return self._changed.wait_for(lambda: len(self.done) >= number, 20)


def test_300_events_are_few_threads_and_none_is_lost(monkeypatch):
    """A host that loses its storage tells of all its guests at once."""
    looked_at = Seen(takes=0.01)

    class Idle:
        def busy(self, uuid):
            return False

    monkeypatch.setattr("nova_lite.loops.power_sync.SETTLE", SOON)
    power = PowerSync("host1", FakeHypervisor(), None, Idle(), Later().do, None)
    power.check_uuid = lambda uuid: looked_at.job(uuid)()
    before = threading.active_count()

    uuids = [f"server-{number}" for number in range(300)]
    for uuid in uuids:
        power.on_event(DomainEvent(uuid, "stopped", "shutdown"))
    most = threading.active_count() - before

    assert looked_at.wait_for(300)
    assert sorted(looked_at.done) == sorted(uuids)
    assert most <= 5
    assert looked_at.together <= 4


def test_jobs_of_one_server_are_never_together_and_in_order(later):
    """Also when the first one hangs for a while."""
    seen = Seen(takes=0.2)
    later.do(0.0, "s", seen.job("first"))
    time.sleep(0.1)  # it runs
    later.do(0.0, "s", seen.job("second"))

    assert seen.wait_for(2)
    assert (seen.done, seen.together) == (["first", "second"], 1)


def test_the_last_one_counts_at_its_own_time(later):
    """A guest that restarts itself is looked at when it had time to."""
    seen = Seen()
    began = time.monotonic()
    later.do(SOON, "s", seen.job("first"))
    later.do(4 * SOON, "s", seen.job("last"))

    assert seen.wait_for(1)
    assert time.monotonic() - began >= 4 * SOON
    time.sleep(2 * SOON)
    assert seen.done == ["last"]


def test_what_is_due_first_is_done_first(later):
    """A job that waits for long does not hold up others."""
    seen = Seen()
    later.do(60.0, "slow", seen.job("slow"))
    later.do(SOON, "quick", seen.job("quick"))

    assert seen.wait_for(1)
    assert seen.done == ["quick"]


def test_there_is_a_next_time(later):
    """Its thread ends when nothing waits, and comes back."""
    seen = Seen()
    for number in (1, 2):
        later.do(SOON, "s", seen.job(number))
        assert seen.wait_for(number)
        time.sleep(SOON)

    assert seen.done == [1, 2]


def test_a_job_that_fails_costs_no_other(later, caplog):
    """It is logged."""
    seen = Seen()

    def fail():
        raise ZeroDivisionError

    later.do(0.0, "s", fail)
    later.do(SOON, "t", seen.job("t"))

    assert seen.wait_for(1)
    assert "a look at server s failed" in caplog.text
