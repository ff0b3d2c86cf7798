"""libvirt events become DomainEvents and reach every subscriber."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import events
from nova_lite.drivers.hypervisor.libvirt.events import EventPump, lifecycle_event
from nova_lite.errors import HypervisorUnavailable
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import PowerState

UUID = "3b0f1c3e-0000-4000-8000-000000000001"


class Link:
    """A connection that remembers who wants events."""

    def __init__(self) -> None:
        self.callbacks: dict[int, Any] = {}

    def domainEventRegisterAny(self, domain: None, kind: int, callback: Any, opaque: None) -> int:  # noqa: N802
        self.callbacks[kind] = callback
        return kind


class Domain:
    def UUIDString(self) -> str:  # noqa: N802
        return UUID


class World:
    """``states`` is what the hypervisor says; reconnecting fails ``failures`` times."""

    def __init__(self) -> None:
        self.states: dict[str, PowerState] = {}
        self.failures = 0
        self.events: queue.Queue[DomainEvent] = queue.Queue()
        self.link = Link()
        self.pump = EventPump(self.reconnect, lambda: dict(self.states))
        self.pump.subscribe(self.events.put)
        self.pump.register(self.link)
        self.pump.start()

    def reconnect(self) -> None:
        if self.failures:
            self.failures -= 1
            raise HypervisorUnavailable("away")
        self.pump.register(self.link)

    def happen(self, event: int, detail: int = 0) -> None:
        self.link.callbacks[libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE](
            self.link, Domain(), event, detail, None
        )


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.pump.stop()


@pytest.mark.parametrize(
    ("event", "detail", "kind", "said"),
    [
        (libvirt.VIR_DOMAIN_EVENT_STARTED, 0, "started", "booted"),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 2, "paused", "ioerror"),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, 0, "resumed", "unpaused"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, 5, "stopped", "failed"),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, 1, "shutdown", "guest"),
        (libvirt.VIR_DOMAIN_EVENT_CRASHED, 0, "crashed", "panicked"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, 77, "stopped", "77"),
    ],
)
def test_lifecycle_events_are_named(event: int, detail: int, kind: str, said: str) -> None:
    """Details that came after this driver are given as numbers."""
    assert lifecycle_event(UUID, event, detail) == DomainEvent(UUID, kind, said)


def test_definitions_are_no_news() -> None:
    """Defining and undefining are the agent's own doing."""
    assert lifecycle_event(UUID, libvirt.VIR_DOMAIN_EVENT_DEFINED, 0) is None


def test_a_broken_subscriber_costs_nobody_else_their_events(world: World) -> None:
    """Its error is logged, the next event comes."""
    world.pump.subscribe(lambda event: 1 // 0)  # type: ignore[arg-type, return-value]
    world.happen(libvirt.VIR_DOMAIN_EVENT_STARTED)
    world.happen(libvirt.VIR_DOMAIN_EVENT_STOPPED)

    assert world.events.get(timeout=5).kind == "started"
    assert world.events.get(timeout=5).kind == "stopped"


def test_reconnection_is_tried_until_it_succeeds(world: World) -> None:
    """And then tells what changed meanwhile, but not what stayed."""
    world.happen(libvirt.VIR_DOMAIN_EVENT_STARTED)
    assert world.events.get(timeout=5).kind == "started"

    world.failures = 2
    world.states = {UUID: PowerState.SHUTDOWN, "new": PowerState.RUNNING}
    world.pump.lost()

    assert world.events.get(timeout=10) == DomainEvent(UUID, "stopped", "missed")
    assert world.events.empty()


def test_a_guest_that_was_restarted_meanwhile_counts_as_started(world: World) -> None:
    """From off to running is a start, from paused to running a resume."""
    world.happen(libvirt.VIR_DOMAIN_EVENT_STOPPED)
    world.events.get(timeout=5)
    world.states = {UUID: PowerState.RUNNING}
    world.pump.lost()

    assert world.events.get(timeout=10) == DomainEvent(UUID, "started", "missed")


def test_a_change_that_libvirt_keeps_silent_about_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some time after a reconnection the states are compared once more."""
    monkeypatch.setattr(events, "SECOND_LOOK", 0.2)
    world.happen(libvirt.VIR_DOMAIN_EVENT_STARTED)
    world.events.get(timeout=5)
    world.states = {UUID: PowerState.RUNNING}
    world.pump.lost()
    with pytest.raises(queue.Empty):
        world.events.get(timeout=0.1)
    world.states = {UUID: PowerState.SHUTDOWN}

    assert world.events.get(timeout=5) == DomainEvent(UUID, "stopped", "missed")
