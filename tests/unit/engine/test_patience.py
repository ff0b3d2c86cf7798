"""Trying again while a dependency is away."""

from __future__ import annotations

import threading

import pytest

from nova_lite.engine import patience
from nova_lite.errors import (
    ControlPlaneUnavailable,
    DiskError,
    NetworkUnavailable,
    PeerUnavailable,
    RemoteHostUnreachable,
)
from tests.fakes.clock import ManualClock


class StopsAfter(ManualClock):
    """A clock by which the agent is to stop at some time."""

    def __init__(self, drain, seconds):
        super().__init__(0.0)
        self._drain, self._seconds = drain, seconds

    def sleep(self, seconds):
        super().sleep(seconds)
        if self.now >= self._seconds:
            self._drain.set()


def failing(times, error):
    """Something that works after so many failures, and how often it was tried."""
    tries = []

    def attempt():
        tries.append(1)
        if len(tries) <= times:
            raise error

    return attempt, tries


def test_a_network_service_that_comes_back_is_waited_for():
    """A boot does not fail because Neutron restarts."""
    attempt, tries = failing(3, NetworkUnavailable("away"))

    clock = ManualClock(0.0)

    patience.persist(attempt, threading.Event(), clock)

    assert (len(tries), clock.slept) == (4, [1.0, 2.0, 4.0])


def test_patience_has_an_end_where_another_host_may_do_better():
    """Neutron away for minutes: the boot goes to the next host."""
    clock = ManualClock(0.0)
    attempt, _tries = failing(10**6, NetworkUnavailable("away"))

    with pytest.raises(NetworkUnavailable):
        patience.persist(attempt, threading.Event(), clock)

    assert 60 < clock.now < 120


def test_patience_with_another_host_has_an_end():
    """It may be dead for good; a call whose answer was lost is made a second time."""
    clock = ManualClock(0.0)
    calls = []

    def call():
        calls.append(1)
        clock.now += 60  # rpc_response_timeout
        raise PeerUnavailable("host two did not answer")

    with pytest.raises(PeerUnavailable):
        patience.persist(call, threading.Event(), clock=clock)

    assert len(calls) == 2


def test_without_the_control_plane_there_is_nobody_to_tell():
    """It is waited for until the agent stops; then the operation goes on at the next start."""
    attempt, _tries = failing(10**6, ControlPlaneUnavailable("away"))

    stop = threading.Event()

    with pytest.raises(patience.WaitEnded):
        patience.persist(attempt, stop, clock=StopsAfter(stop, 86400))


def test_other_errors_are_not_tried_again():
    """They would be the same a second later."""
    attempt, tries = failing(1, DiskError("broken"))

    with pytest.raises(DiskError):
        patience.persist(attempt, threading.Event(), ManualClock())

    assert len(tries) == 1


class FartherAway(ControlPlaneUnavailable):
    """One of a kind that is waited for without end."""


def test_the_nearest_kind_counts(monkeypatch):
    """An error has the patience of its own class, where that has one."""
    assert patience.patience_for(FartherAway("away")) == float("inf")
    monkeypatch.setitem(patience.PATIENCE, FartherAway, 30.0)
    clock = ManualClock(0.0)
    attempt, _tries = failing(10**6, FartherAway("away"))

    with pytest.raises(FartherAway):
        patience.persist(attempt, threading.Event(), clock)

    assert 30 < clock.now < 60


def test_the_log_says_what_is_waited_for_and_for_how_long(caplog):
    """An operator sees why nothing happens."""
    stop = threading.Event()
    attempt, _tries = failing(10**6, NetworkUnavailable("Neutron is away"))
    with pytest.raises(patience.WaitEnded):
        caplog.set_level("INFO")
        patience.persist(attempt, stop, StopsAfter(stop, 20))

    assert "Neutron is away; trying again" in caplog.text
    assert "NetworkUnavailable away for 3 s, waiting for at most 60 s" in caplog.text
    assert "Stopped waiting after 2" in caplog.text


def test_a_long_copy_that_is_cut_off_goes_on():
    """The other host was there for an hour: it is away only since then."""
    clock, tries = ManualClock(0.0), []

    def attempt():
        tries.append(1)
        if len(tries) == 1:
            clock.now += 3600.0
        if len(tries) < 4:
            raise RemoteHostUnreachable("host2: Connection reset")

    patience.persist(attempt, threading.Event(), clock)

    assert (len(tries), clock.slept) == (4, [1.0, 2.0, 4.0])


def test_a_host_that_stays_away_is_given_up_after_a_long_copy():
    """As at any other time."""
    clock, tries = ManualClock(0.0), []

    def attempt():
        tries.append(1)
        if len(tries) == 1:
            clock.now += 3600.0
        raise RemoteHostUnreachable("host2: Connection refused")

    with pytest.raises(RemoteHostUnreachable):
        patience.persist(attempt, threading.Event(), clock)

    assert 3600 + 120 < clock.now < 3600 + 240


def test_a_copy_that_never_ends_is_given_up():
    """The connection is cut each time after minutes; the server is off all the time."""
    clock, tries = ManualClock(0.0), []

    def attempt():
        tries.append(1)
        clock.now += 600.0
        raise RemoteHostUnreachable("host2: Connection reset")

    with pytest.raises(RemoteHostUnreachable):
        patience.persist(attempt, threading.Event(), clock)

    assert len(tries) == 1 + patience.GOES_ON[RemoteHostUnreachable]


def test_a_call_that_takes_long_is_not_tried_for_ever():
    """Each attempt waits for an answer that does not come: it does not say that somebody is
    there."""
    clock, tries = ManualClock(0.0), []

    def attempt():
        tries.append(1)
        clock.now += 600.0
        raise PeerUnavailable("host2 did not answer")

    with pytest.raises(PeerUnavailable):
        patience.persist(attempt, threading.Event(), clock)

    assert len(tries) == 1
