"""Pools: a job starts while there is room, and what hangs is replaced."""

from __future__ import annotations

import threading
import time

import pytest

from nova_lite.engine.queues import Pool


@pytest.fixture
def hold():
    """Jobs that wait for it end with the test."""
    event = threading.Event()
    yield event
    event.set()


class Started:
    """Counts jobs that have started; each waits for ``hold``."""

    def __init__(self, hold):
        self._hold, self._count = hold, threading.Semaphore(0)

    def job(self):
        self._count.release()
        self._hold.wait(30)

    def wait_for(self, number):
        return all(self._count.acquire(timeout=5) for _ in range(number))

    def another(self, seconds):
        return self._count.acquire(timeout=seconds)


def with_idle_worker(size):
    """A pool whose one worker has nothing to do."""
    pool, done = Pool("builds", size), threading.Event()
    pool.submit("warm up", done.set)
    assert done.wait(5)
    while not pool._idle:
        time.sleep(0.001)
    return pool


@pytest.mark.parametrize("trial", range(20))
def test_a_burst_starts_at_once(hold, trial):
    """An idle worker is not free for each of them."""
    pool, started = with_idle_worker(10), Started(hold)
    for number in range(3):
        pool.submit(f"long {number}", started.job)

    assert started.wait_for(3)


def test_a_pool_has_an_end(hold):
    """No more than its size run at once, and the rest follow."""
    pool, started = Pool("builds", 2), Started(hold)
    for number in range(4):
        pool.submit(f"long {number}", started.job)
    assert started.wait_for(2)
    assert not started.another(0.2)

    hold.set()

    assert started.wait_for(2)


def test_all_that_hang_are_replaced_and_reported_once(hold, caplog):
    """As many new workers as jobs that hang, not one by one; a later look says nothing new."""
    pool, started, waiting = Pool("short", 3), Started(hold), threading.Semaphore(0)
    for number in range(3):
        pool.submit(f"hangs {number}", started.job)
    assert started.wait_for(3)
    for number in range(3):
        pool.submit(f"waits {number}", waiting.release)
    assert not waiting.acquire(timeout=0.1)

    assert len(pool.replace_stuck(0.01)) == 3

    assert all(waiting.acquire(timeout=5) for _ in range(3))
    assert pool.stuck == 3
    pool.replace_stuck(0.01)
    assert sum("replaced its worker" in line for line in caplog.messages) == 3


def test_workers_end_when_there_is_nothing_to_do(monkeypatch):
    """An idle agent has no threads for what it did once; the next job gets a new one."""
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    pool = with_idle_worker(4)
    deadline = time.monotonic() + 5
    while pool._workers and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (pool._workers, pool._idle) == (0, 0)

    done = threading.Event()
    pool.submit("again", done.set)

    assert done.wait(5)
