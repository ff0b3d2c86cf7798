"""Whoever watches a migration hears at once that the guest has gone."""

from __future__ import annotations

import threading

from nova_lite.model.host import DomainEvent
from nova_lite.services.guest_events import GONE, GuestEvents
from tests.fakes.clock import ManualClock


def test_an_event_is_not_lost_before_the_wait():
    """Not even the first, which may come as soon as the guest is sent."""
    events = GuestEvents()
    events.heard(DomainEvent("a", "stopped", "migrated"))
    assert events.wait("a", 0, 10.0) == (1, GONE)
    assert events.wait("a", 1, 0.0) == (1, None)


def test_a_migration_begins_without_those_before():
    """What was told of the guest's way to this host says nothing of its way on."""
    events = GuestEvents()
    events.heard(DomainEvent("a", "stopped", "migrated"))
    events.forget("a")
    assert events.wait("a", 0, 0.0) == (0, None)


def test_others_are_not_meant():
    """Other guests, and what is no migration's doing."""
    clock = ManualClock()
    events = GuestEvents(clock)
    events.heard(DomainEvent("b", "stopped", "migrated"))
    events.heard(DomainEvent("a", "stopped", "shutdown"))
    assert events.wait("a", 0, 5.0) == (0, None)
    assert sum(clock.slept) >= 5.0


def test_who_waits_is_woken():
    """Before the pause is over."""
    events, heard = GuestEvents(), []
    thread = threading.Thread(target=lambda: heard.append(events.wait("a", 0, 60.0)))
    thread.start()
    events.heard(DomainEvent("a", "paused", "migrated"))
    thread.join(10)
    assert heard == [(1, "paused")]
