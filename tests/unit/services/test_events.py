"""Waiting for events of others."""

from __future__ import annotations

import threading

from nova_lite.services.events import VIF_PLUGGED, EventHub


def waiting(hub, tags, timeout=5.0, cancelled=None):
    return hub.wait("s1", VIF_PLUGGED, tags, timeout, cancelled or threading.Event())


def test_an_event_that_came_early_counts():
    """Neutron may be faster than the boot."""
    hub = EventHub()
    hub.watch("s1")
    assert hub.deliver("s1", VIF_PLUGGED, "p1", "completed")

    assert waiting(hub, {"p1"}) == set()


def test_an_event_that_comes_late_ends_the_wait():
    """The waiter is woken."""
    hub = EventHub()
    hub.watch("s1")
    threading.Timer(0.05, hub.deliver, ("s1", VIF_PLUGGED, "p1", "completed")).start()

    assert waiting(hub, {"p1"}) == set()


def test_what_is_missing_is_named():
    """After the timeout the ports without an event are known."""
    hub = EventHub()
    hub.watch("s1")
    hub.deliver("s1", VIF_PLUGGED, "p1", "completed")

    assert waiting(hub, {"p1", "p2"}, timeout=0.01) == {"p2"}


def test_a_failed_event_ends_the_wait_at_once():
    """There is nothing to wait for any more."""
    hub = EventHub()
    hub.watch("s1")
    hub.deliver("s1", VIF_PLUGGED, "p1", "failed")

    assert waiting(hub, {"p1"}, timeout=30) == {"p1"}


def test_a_deleted_server_ends_the_wait():
    """Cancelling is noticed within a second or so."""
    hub = EventHub()
    hub.watch("s1")
    cancelled = threading.Event()
    cancelled.set()

    assert waiting(hub, {"p1"}, timeout=30, cancelled=cancelled) == {"p1"}


def test_nobody_waits_for_an_unknown_server():
    """The event is not kept for ever."""
    hub = EventHub()
    hub.watch("s1")
    hub.forget("s1")

    assert not hub.deliver("s1", VIF_PLUGGED, "p1", "completed")
