"""The driver against a libvirtd that is killed, restarted or frozen under it."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor, connection
from nova_lite.errors import HypervisorUnavailable
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import PowerState
from tests.fakes.guests import tiny_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.libvirt_driver import connected, driver_at

pytestmark = pytest.mark.libvirt


@pytest.fixture
def events() -> queue.Queue[DomainEvent]:
    return queue.Queue()


@pytest.fixture
def driver(
    private_libvirtd: PrivateLibvirtd, events: queue.Queue[DomainEvent]
) -> Iterator[LibvirtHypervisor]:
    hypervisor = driver_at(private_libvirtd.uri)
    hypervisor.subscribe(events.put)
    with connected(hypervisor):
        yield hypervisor


def wait_for(events: queue.Queue[DomainEvent], uuid: str, kind: str, *details: str) -> None:
    """Until an event of this kind with one of the details comes."""
    deadline, seen = time.monotonic() + 15, []
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            seen.append(events.get(timeout=0.5))
            last = seen[-1]
            if (last.uuid, last.kind) == (uuid, kind) and last.detail in details:
                return
    pytest.fail(f"no event {kind} {details}; seen: {seen}")


def test_guests_and_driver_survive_a_killed_libvirtd(
    driver: LibvirtHypervisor,
    private_libvirtd: PrivateLibvirtd,
    events: queue.Queue[DomainEvent],
    tmp_path: Path,
) -> None:
    """The guest runs on, calls fail clearly meanwhile, and work again without being told to."""
    spec = tiny_guest(tmp_path)
    driver.define(spec)
    driver.start(spec.uuid)

    private_libvirtd.kill_libvirtd()
    with pytest.raises(HypervisorUnavailable, match="is libvirtd .* running"):
        driver.ping()
    private_libvirtd.start_libvirtd()

    assert driver.power_state(spec.uuid) == PowerState.RUNNING
    driver.destroy(spec.uuid)
    # So soon after its start libvirtd may forget to tell; then the driver finds out.
    wait_for(events, spec.uuid, "stopped", "destroyed", "missed")


def test_events_come_back_without_any_call(
    driver: LibvirtHypervisor,
    private_libvirtd: PrivateLibvirtd,
    events: queue.Queue[DomainEvent],
    tmp_path: Path,
) -> None:
    """The driver reconnects by itself: an idle agent must hear of guests that stop."""
    spec = tiny_guest(tmp_path)
    driver.define(spec)
    driver.start(spec.uuid)
    wait_for(events, spec.uuid, "started", "booted")
    private_libvirtd.kill_libvirtd()
    private_libvirtd.start_libvirtd()
    wait_until_subscribed(driver)

    private_libvirtd.run("virsh", "-c", "qemu:///system", "destroy", spec.uuid)

    wait_for(events, spec.uuid, "stopped", "destroyed", "missed")


def wait_until_subscribed(driver: LibvirtHypervisor) -> None:
    """Until the event thread has reconnected; asks the driver nothing that would do it."""
    deadline = time.monotonic() + 20
    while driver._connection._current is None:
        assert time.monotonic() < deadline, "the driver did not reconnect by itself"
        time.sleep(0.05)


def test_what_happened_meanwhile_is_told_afterwards(
    driver: LibvirtHypervisor,
    private_libvirtd: PrivateLibvirtd,
    events: queue.Queue[DomainEvent],
    tmp_path: Path,
) -> None:
    """A guest that died while libvirtd was away gives a stopped event with detail "missed"."""
    spec = tiny_guest(tmp_path)
    driver.define(spec)
    driver.start(spec.uuid)
    wait_for(events, spec.uuid, "started", "booted")
    private_libvirtd.kill_libvirtd()
    pid = private_libvirtd.directory / "run" / "qemu" / f"{spec.name}.pid"
    private_libvirtd.run("kill", "-9", pid.read_text().strip())
    private_libvirtd.start_libvirtd()

    wait_for(events, spec.uuid, "stopped", "missed")
    assert driver.power_state(spec.uuid) == PowerState.SHUTDOWN


def test_a_call_under_way_when_libvirtd_dies_is_repeated(
    driver: LibvirtHypervisor, private_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A frozen, then killed and restarted libvirtd delays a call, no more."""
    spec = tiny_guest(tmp_path)
    driver.define(spec)
    private_libvirtd.signal_libvirtd(signal.SIGSTOP)
    answers: list[PowerState] = []
    caller = threading.Thread(target=lambda: answers.append(driver.power_state(spec.uuid)))
    caller.start()
    time.sleep(0.3)
    assert caller.is_alive(), "a frozen libvirtd cannot have answered"

    private_libvirtd.kill_libvirtd()
    private_libvirtd.start_libvirtd()
    caller.join(timeout=30)

    assert answers == [PowerState.SHUTDOWN]


def test_a_frozen_libvirtd_blocks_nobody_for_ever(
    driver: LibvirtHypervisor, private_libvirtd: PrivateLibvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ping gives up after its deadline; when libvirtd thaws, nothing stays stuck."""
    from nova_lite.drivers.hypervisor.libvirt import driver as driver_module

    monkeypatch.setattr(driver_module, "PING_TIMEOUT", 0.5)
    private_libvirtd.signal_libvirtd(signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(HypervisorUnavailable, match=r"within 0\.5 s"):
            driver.ping()
        assert time.monotonic() - started < 5
        assert driver.stuck_calls == 1
    finally:
        private_libvirtd.signal_libvirtd(signal.SIGCONT)

    monkeypatch.setattr(driver_module, "PING_TIMEOUT", 10.0)
    driver.ping()
    deadline = time.monotonic() + 10
    while driver.stuck_calls and time.monotonic() < deadline:
        time.sleep(0.05)
    assert driver.stuck_calls == 0


def test_keepalive_finds_a_dead_peer(
    private_libvirtd: PrivateLibvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any call, a libvirtd that stops answering pings counts as lost."""
    monkeypatch.setattr(connection, "KEEPALIVE_INTERVAL", 1)
    monkeypatch.setattr(connection, "KEEPALIVE_COUNT", 1)
    lost = threading.Event()
    link = connection.Connection(private_libvirtd.uri, on_lost=lost.set)
    link.open()
    private_libvirtd.signal_libvirtd(signal.SIGSTOP)
    try:
        assert lost.wait(timeout=15)
    finally:
        private_libvirtd.signal_libvirtd(signal.SIGCONT)
        link.close()
