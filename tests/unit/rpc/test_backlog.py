"""Messages that waited for this host, and when they have been taken over."""

from __future__ import annotations

import threading

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.rpc import backlog, transport
from nova_lite.rpc.backlog import Backlog
from tests.fakes.clock import ManualClock


@pytest.fixture
def wait(monkeypatch):
    """Wait for a backlog; the broker and the agent give one answer after the other."""

    def run(waiting, idle=(True,), stop=None):
        answers, states, time = iter(waiting), iter(idle), ManualClock(0.0)
        last = {}

        def following(name, values):
            last[name] = next(values, last.get(name))
            return last[name]

        monkeypatch.setattr(
            transport, "waiting", lambda conf, queues: following("waiting", answers)
        )
        found = Backlog(None, ["compute.h"], lambda: following("idle", states), time)
        return found.wait(stop or threading.Event()), round(time.now, 1)

    return run


@pytest.mark.parametrize(
    ("waiting", "idle", "seconds"),
    [
        ([0], [True], 0.2),  # nothing waits: looked at twice
        ([3, 1, 0], [True], 0.6),
        ([0], [False, False, True], 0.6),  # handed out, and not promised yet
        ([0, 0, 2, 0], [True, False, True], 0.8),  # the next lot came in between
        ([None], [True], 2.8),  # the broker cannot be asked: quiet for a while is enough
        ([5], [True], backlog.LIMIT_S + 0.2),
    ],
)
def test_it_is_waited_for(wait, waiting, idle, seconds):
    """Until the broker has none left and all that came was promised or answered."""
    assert wait(waiting, idle) == (True, pytest.approx(seconds, abs=0.21))


def test_an_agent_that_stops_does_not_wait(wait):
    """Nothing is settled then."""
    stop = threading.Event()
    stop.set()

    assert wait([5], stop=stop) == (False, 0.0)


def test_a_pool_is_idle_when_all_that_was_submitted_is_over():
    """A worker that waits for more is no work."""
    pool, begun, end = Pool("p", 2), threading.Event(), threading.Event()
    assert pool.idle

    pool.submit("job", lambda: (begun.set(), end.wait(10)))
    assert begun.wait(10)
    assert not pool.idle

    end.set()
    for _ in range(100):
        if pool.idle:
            break
        threading.Event().wait(0.02)
    assert pool.idle
