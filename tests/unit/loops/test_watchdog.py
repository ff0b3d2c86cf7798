"""The watchdog tells an agent that is stuck from one that waits for somebody who is away."""

from __future__ import annotations

import threading

import pytest

from nova_lite.loops.watchdog import Signs, Watchdog
from tests.fakes.clock import ManualClock

HEARTBEAT, WORKERS = 150.0, 960.0
EVERY = 90.0  # seconds between two ticks


class Agent:
    """What the watchdog sees of an agent, and whether it was fed."""

    def __init__(self):
        self.clock = ManualClock(0.0)
        self.fed = 0
        self.heartbeat_ended = 0.0  # None: one ends at each look
        self.broker_works = True
        self.asked_broker = 0
        self.workers_work = True
        self.locks_taken = 0
        self.watchdog = Watchdog(
            self._feed,
            Signs(self._locks, self._message, self._heartbeat, self._broker),
            heartbeat_limit=HEARTBEAT,
            worker_limit=WORKERS,
            clock=self.clock,
        )

    def _feed(self):
        self.fed += 1

    def _locks(self):
        self.locks_taken += 1

    def _message(self, run):
        if self.workers_work:
            run()

    def _heartbeat(self):
        return 0.0 if self.heartbeat_ended is None else self.clock.now - self.heartbeat_ended

    def _broker(self):
        self.asked_broker += 1
        return self.broker_works

    def pass_time(self, seconds):
        """Returns how often the watchdog was fed meanwhile, and in how many ticks."""
        before, ticks = self.fed, int(seconds / EVERY)
        for _ in range(ticks):
            self.clock.now += EVERY
            self.watchdog.tick()
        return self.fed - before, ticks


@pytest.fixture
def agent():
    return Agent()


def test_a_control_plane_that_is_away_for_an_hour(agent):
    """The heartbeat fails again and again; that is no reason to kill uploads."""
    agent.heartbeat_ended = None
    agent.broker_works = False

    fed, ticks = agent.pass_time(3600)

    assert fed == ticks > 30


def test_a_heartbeat_that_waits_for_the_broker(agent):
    """oslo.messaging may wait for a broker that is away as long as that takes."""
    agent.broker_works = False

    fed, ticks = agent.pass_time(3600)

    assert fed == ticks > 30


def test_the_broker_has_come_back_just_now(agent):
    """The heartbeat that was under way has some time to notice."""
    agent.broker_works = False
    agent.pass_time(3600)
    agent.broker_works = True

    assert agent.pass_time(EVERY) == (1, 1)


def test_a_heartbeat_that_hangs_though_the_broker_works(agent, caplog):
    """Nobody will evacuate this host's servers nor bring it back, but a restart."""
    agent.pass_time(HEARTBEAT + EVERY)
    caplog.clear()

    fed, ticks = agent.pass_time(900)

    assert (fed, ticks) == (0, 10)
    assert "stuck: its heartbeat" in caplog.text


def test_a_broker_that_came_back_long_ago(agent):
    """It was away once: that does not excuse the heartbeat for ever."""
    agent.broker_works = False
    agent.pass_time(3600)
    agent.broker_works = True
    agent.pass_time(HEARTBEAT + EVERY)

    assert agent.pass_time(900) == (0, 10)


def test_the_broker_is_left_alone_while_heartbeats_end(agent):
    """A login costs the broker more than a heartbeat."""
    agent.heartbeat_ended = None

    agent.pass_time(3600)

    assert agent.asked_broker == 0


def test_workers_that_take_no_message(agent, caplog):
    """Messages wait for ever; other signs of life do not count."""
    agent.heartbeat_ended = None
    agent.workers_work = False
    assert agent.pass_time(WORKERS - EVERY)[0] > 0, "a worker that hangs is replaced by then"
    agent.pass_time(3 * EVERY)

    assert agent.pass_time(900) == (0, 10)
    assert "no worker" in caplog.text


def test_a_lock_that_is_never_given_back(agent):
    """The look for it hangs itself, so that nothing is fed."""
    held = threading.Lock()
    held.acquire()
    watchdog = Watchdog(
        agent._feed,
        Signs(lambda: held.acquire() and None, agent._message, agent._heartbeat, agent._broker),
        heartbeat_limit=HEARTBEAT,
        worker_limit=WORKERS,
    )
    ticking = threading.Thread(target=watchdog.tick, daemon=True)
    ticking.start()
    ticking.join(0.3)

    assert (ticking.is_alive(), agent.fed) == (True, 0)
    held.release()
    ticking.join(5)
    assert agent.fed == 1
