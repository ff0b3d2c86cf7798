"""Trying again while a dependency is away."""

from __future__ import annotations

import pytest

from nova_lite.engine import patience
from nova_lite.errors import (
    ControlPlaneUnavailable,
    DiskError,
    NetworkUnavailable,
    PeerUnavailable,
)


class Clock:
    """Time that passes only while somebody waits; stands for the drain event, too."""

    def __init__(self, monkeypatch, stop_after=None):
        self.now, self.stop_after = 0.0, stop_after
        monkeypatch.setattr(patience.time, "monotonic", lambda: self.now)

    def wait(self, seconds):
        self.now += seconds
        return self.stop_after is not None and self.now >= self.stop_after


def failing(times, error):
    """Something that works after so many failures, and how often it was tried."""
    tries = []

    def attempt():
        tries.append(1)
        if len(tries) <= times:
            raise error

    return attempt, tries


def test_a_network_service_that_comes_back_is_waited_for(monkeypatch):
    """A boot does not fail because Neutron restarts."""
    attempt, tries = failing(3, NetworkUnavailable("away"))

    patience.persist(attempt, Clock(monkeypatch))

    assert len(tries) == 4


def test_patience_has_an_end_where_another_host_may_do_better(monkeypatch):
    """Neutron away for minutes: the boot goes to the next host."""
    clock = Clock(monkeypatch)
    attempt, _tries = failing(10**6, NetworkUnavailable("away"))

    with pytest.raises(NetworkUnavailable):
        patience.persist(attempt, clock)

    assert 60 < clock.now < 120


def test_patience_with_another_host_has_an_end(monkeypatch):
    """It may be dead for good; a call whose answer was lost is made a second time."""
    clock = Clock(monkeypatch)
    calls = []

    def call():
        calls.append(1)
        clock.now += 60  # rpc_response_timeout
        raise PeerUnavailable("host two did not answer")

    with pytest.raises(PeerUnavailable):
        patience.persist(call, clock)

    assert len(calls) == 2


def test_without_the_control_plane_there_is_nobody_to_tell(monkeypatch):
    """It is waited for until the agent stops; then the operation goes on at the next start."""
    attempt, _tries = failing(10**6, ControlPlaneUnavailable("away"))

    with pytest.raises(patience.Draining):
        patience.persist(attempt, Clock(monkeypatch, stop_after=86400))


def test_other_errors_are_not_tried_again(monkeypatch):
    """They would be the same a second later."""
    attempt, tries = failing(1, DiskError("broken"))

    with pytest.raises(DiskError):
        patience.persist(attempt, Clock(monkeypatch))

    assert len(tries) == 1
