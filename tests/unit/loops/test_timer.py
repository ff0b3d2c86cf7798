"""The timer of periodic work."""

from __future__ import annotations

import threading

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.loops.timer import Timer


def test_it_ticks_at_its_interval_and_when_poked():
    """A poke does not wait for the interval."""
    ticked = threading.Semaphore(0)
    timer = Timer("t", ticked.release, 60.0)
    timer.start()
    timer.poke()

    assert ticked.acquire(timeout=5)
    timer.stop()


def test_many_pokes_are_one_tick():
    """Ten changes at once are one report."""
    ticks = []
    done = threading.Event()
    timer = Timer("t", lambda: (ticks.append(1), done.set()), 60.0, settle=0.1)
    timer.start()
    for _ in range(10):
        timer.poke()

    assert done.wait(5)
    threading.Event().wait(0.3)
    timer.stop()
    assert len(ticks) == 1


def test_a_failing_tick_is_tried_again():
    """One bad turn does not end the loop."""
    calls = []
    twice = threading.Event()

    def tick():
        calls.append(1)
        if len(calls) == 1:
            raise ControlPlaneUnavailable("no conductor")
        twice.set()

    timer = Timer("t", tick, 0.01, first=0.0)
    timer.start()

    assert twice.wait(5)
    timer.stop()
    assert timer.since_tick < 5
