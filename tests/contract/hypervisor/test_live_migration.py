"""What every hypervisor driver promises of guests that go to another host while they run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import (
    DomainNotFound,
    GuestNotRunning,
    HypervisorError,
    HypervisorUnavailable,
)
from nova_lite.model.domain import DiskSpec, DomainSpec
from nova_lite.model.host import DomainEvent
from nova_lite.model.live_migration import (
    GuestAt,
    GuestChanges,
    LiveMigration,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY
from tests.fakes.guests import writing_guest
from tests.fakes.hypervisor import FakeHypervisor
from tests.libvirt_driver import connected, driver_at

ENOUGH_MS = 5_000
NOWHERE = "qemu+tcp://127.0.0.1:1/system"
DISK = DiskSpec("vdb", "virtio", "/dev/null", serial=NOBODY)
RUNS, HELD = GuestAt(PowerState.RUNNING), GuestAt(PowerState.PAUSED)


@dataclass
class Pair:
    """Two hosts; ``slowly`` makes migrations from the first one take until they are let go."""

    here: Hypervisor
    there: Hypervisor
    uris: tuple[str, str]
    addresses: tuple[str | None, str | None]

    def order(self, uuid: str, **wanted: object) -> LiveMigration:
        """What sends a guest from here to there."""
        definition = self.here.live_definition(uuid)
        migrate_uri = f"tcp://{self.addresses[1]}" if self.addresses[1] else None
        return replace(LiveMigration(self.uris[1], definition, migrate_uri), **wanted)

    def back(self) -> Pair:
        """From there to here."""
        return Pair(self.there, self.here, self.uris[::-1], self.addresses[::-1])

    def slow(self, uuid: str, **wanted: object) -> LiveMigration:
        """The same, but it does not end by itself."""
        if isinstance(self.here, FakeHypervisor):
            self.here.migration_looks = 1_000_000
        return self.order(uuid, bandwidth_mib_s=1, **wanted)

    def let_go(self) -> None:
        if isinstance(self.here, FakeHypervisor):
            for sent in self.here.sent.values():
                sent.looks = 0


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.libvirt)])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "fake":
        here, there = FakeHypervisor(), FakeHypervisor()
        uris = "fake://one", "fake://two"
        for one in (here, there):
            one.hypervisors = dict(zip(uris, (here, there), strict=True))
        yield Pair(here, there, uris, (None, None))
        return
    machines = request.getfixturevalue("linked_libvirtds")
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(connected(driver_at(m.uri))) for m, _ in machines)
        (first, own), (second, other) = machines
        yield Pair(one, two, (first.uri, second.uri), (own, other))


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    return writing_guest(tmp_path, pause=200)


@pytest.fixture
def server(pair: Pair, spec: DomainSpec) -> str:
    """A guest that runs here and writes to its memory."""
    pair.here.define(spec)
    pair.here.start(spec.uuid)
    return spec.uuid


def until(
    pair: Pair, server: str, wanted: Callable[[MigrationProgress], bool]
) -> MigrationProgress:
    """The progress when it is as wanted."""
    deadline = time.monotonic() + 60
    while True:
        found = pair.here.migration(server)
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def over(pair: Pair, server: str) -> MigrationProgress:
    """How it ended; a stop of seconds is fine, for the machine may be busy."""

    def ended(progress: MigrationProgress) -> bool:
        if progress.active:
            pair.here.set_migration_downtime(server, ENOUGH_MS)
        return progress.over

    return until(pair, server, ended)


def sends_memory(progress: MigrationProgress) -> bool:
    return progress.active and progress.memory_remaining > 0


def places(pair: Pair, server: str) -> tuple[GuestAt | None, GuestAt | None]:
    """The guest here and there, as this host sees both."""
    return pair.here.guest_at(None, server), pair.here.guest_at(pair.uris[1], server)


def test_a_guest_goes_to_another_host(pair: Pair, server: str) -> None:
    """It runs there and is not known here; who asks twice gets one migration."""
    order = pair.order(server)
    pair.here.migrate(server, order)
    with contextlib.suppress(DomainNotFound):  # it may be gone already
        pair.here.migrate(server, order)
    ended = over(pair, server)

    assert (ended.phase, ended.error) == (MigrationPhase.COMPLETED, "")
    assert (ended.memory_total > 0, ended.memory_remaining, ended.held) == (True, 0, True)
    assert places(pair, server) == (None, RUNS)
    assert not pair.here.defined(server)
    assert pair.there.power_state(server) == PowerState.RUNNING
    with pytest.raises(DomainNotFound):
        pair.here.migrate(server, order)
    assert pair.here.migration(server).phase == MigrationPhase.COMPLETED


def test_both_hosts_tell_that_it_was_a_migration(pair: Pair, server: str) -> None:
    """Nobody takes the guest for one that was shut down, or started by somebody."""
    here: list[DomainEvent] = []
    there: list[DomainEvent] = []
    pair.here.subscribe(here.append)
    pair.there.subscribe(there.append)

    pair.here.migrate(server, pair.order(server))
    over(pair, server)

    def told(events: list[DomainEvent], kind: str) -> bool:
        return any(event.kind == kind and event.of_migration for event in events)

    deadline = time.monotonic() + 10
    while not (told(here, "stopped") and told(there, "resumed")):
        assert time.monotonic() < deadline, (here, there)
        time.sleep(0.05)
    # Shortly after a connection began, a change may be told once more, as missed.
    stops = {event.detail for event in here if event.kind == "stopped"}
    assert stops <= {"migrated", "missed"}


def test_a_guest_that_is_held_arrives_held(pair: Pair, server: str) -> None:
    """And goes on when it is let go; post-copy, which it cannot have, is not asked of it."""
    pair.here.pause(server)
    pair.here.migrate(server, pair.order(server, post_copy=True))

    assert over(pair, server).phase == MigrationPhase.COMPLETED
    assert places(pair, server) == (None, HELD)
    assert places(pair, server)[1].settled
    pair.there.resume(server)
    assert places(pair, server) == (None, RUNS)


def test_a_guest_comes_back(pair: Pair, server: str) -> None:
    """What was known of the way there is no answer to how the way back goes."""
    pair.here.migrate(server, pair.order(server))
    over(pair, server)
    back = pair.back()
    back.here.migrate(server, back.order(server))
    assert over(back, server).phase == MigrationPhase.COMPLETED
    assert places(pair, server) == (RUNS, None)

    slow = pair.slow(server)
    pair.here.migrate(server, slow)
    assert pair.here.migration(server).phase == MigrationPhase.RUNNING
    pair.here.abort_migration(server)
    assert over(pair, server).phase == MigrationPhase.CANCELLED


def test_a_migration_that_is_given_up_leaves_the_guest_here(pair: Pair, server: str) -> None:
    """It runs on, nothing is left there, and it may be sent again."""
    pair.here.migrate(server, pair.slow(server))
    until(pair, server, sends_memory)
    assert places(pair, server) == (RUNS, GuestAt(PowerState.PAUSED, Migrating.ARRIVING))
    assert not places(pair, server)[1].settled

    pair.here.abort_migration(server)
    ended = over(pair, server)
    pair.here.abort_migration(server)

    assert (ended.phase, ended.held) == (MigrationPhase.CANCELLED, False)
    assert ended.error
    assert places(pair, server) == (RUNS, None)
    pair.here.migrate(server, pair.slow(server))
    assert pair.here.migration(server).phase == MigrationPhase.RUNNING
    pair.here.abort_migration(server)
    assert over(pair, server).phase == MigrationPhase.CANCELLED


def test_an_abort_at_the_very_beginning_counts(pair: Pair, server: str) -> None:
    """Also before there is anything to abort."""
    pair.here.migrate(server, pair.slow(server))
    pair.here.abort_migration(server)

    assert over(pair, server).phase == MigrationPhase.CANCELLED
    assert places(pair, server) == (RUNS, None)


def test_post_copy_ends_a_migration_that_does_not_end(pair: Pair, server: str) -> None:
    """The guest goes on there at once; there is no way back then."""
    pair.here.migrate(server, pair.slow(server, post_copy=True))
    until(pair, server, sends_memory)

    pair.here.begin_post_copy(server)
    with contextlib.suppress(DomainNotFound):
        pair.here.begin_post_copy(server)
    pair.let_go()

    assert over(pair, server).phase == MigrationPhase.COMPLETED
    assert places(pair, server) == (None, RUNS)


def test_post_copy_must_be_allowed_from_the_beginning(pair: Pair, server: str) -> None:
    """The migration goes on as it was."""
    pair.here.migrate(server, pair.slow(server))
    until(pair, server, sends_memory)

    with pytest.raises(HypervisorError):
        pair.here.begin_post_copy(server)

    assert pair.here.migration(server).phase == MigrationPhase.RUNNING
    pair.here.abort_migration(server)
    over(pair, server)


def test_a_longer_stop_may_end_a_migration(pair: Pair, server: str) -> None:
    """One that is never still for long enough ends when it may be held for a minute."""
    pair.here.migrate(server, pair.slow(server))
    until(pair, server, sends_memory)

    pair.here.set_migration_downtime(server, 200_000)
    pair.let_go()

    ended = until(pair, server, lambda progress: progress.over)
    assert ended.phase == MigrationPhase.COMPLETED


def test_without_a_migration_there_is_nothing_to_steer(pair: Pair, server: str) -> None:
    """Each of these may come too late."""
    for uuid in (server, NOBODY):
        pair.here.abort_migration(uuid)
        pair.here.begin_post_copy(uuid)
        pair.here.set_migration_downtime(uuid, 100)
        assert pair.here.migration(uuid) == MigrationProgress(MigrationPhase.NONE)


def test_a_host_that_does_not_answer_gets_nothing(pair: Pair, server: str) -> None:
    """The guest runs on here, and the reason is told."""
    pair.here.migrate(server, replace(pair.order(server), target_uri=NOWHERE))
    ended = over(pair, server)

    assert ended.phase == MigrationPhase.FAILED
    assert "connect" in ended.error
    assert pair.here.guest_at(None, server) == RUNS
    with pytest.raises(HypervisorUnavailable):
        pair.here.guest_at(NOWHERE, server)


def test_a_host_where_it_runs_already_refuses(pair: Pair, server: str, spec: DomainSpec) -> None:
    """Two copies of one guest never become one."""
    pair.there.define(spec)
    pair.there.start(server)
    pair.here.migrate(server, pair.order(server))

    assert over(pair, server).phase == MigrationPhase.FAILED
    assert places(pair, server) == (RUNS, RUNS)


def test_a_definition_that_is_there_already_is_replaced(
    pair: Pair, server: str, spec: DomainSpec
) -> None:
    """As one that a failed migration has left; a migration that fails leaves it."""
    pair.there.define(replace(spec, title="left over"))
    pair.here.migrate(server, pair.slow(server))
    until(pair, server, sends_memory)
    pair.here.abort_migration(server)
    over(pair, server)
    assert places(pair, server) == (RUNS, GuestAt(PowerState.SHUTDOWN))

    if isinstance(pair.here, FakeHypervisor):
        pair.here.migration_looks = 1
    pair.here.migrate(server, pair.order(server))
    assert over(pair, server).phase == MigrationPhase.COMPLETED
    assert places(pair, server) == (None, RUNS)


def test_the_guest_is_what_the_definition_says(pair: Pair, server: str) -> None:
    """Here: its console listens at another address; so it does after a start there."""
    definition = pair.here.live_definition(server, GuestChanges(listen={"vnc": "127.0.0.2"}))
    pair.here.migrate(server, replace(pair.order(server), definition=definition))
    over(pair, server)

    def listens() -> str | None:
        console = pair.there.graphics(server, "vnc")
        return console.host if console else None

    assert listens() == "127.0.0.2"
    pair.there.destroy(server)
    pair.there.start(server)
    assert listens() == "127.0.0.2"


def test_a_change_of_what_the_guest_has_not_is_refused(pair: Pair, server: str) -> None:
    """It is a mistake of whoever asks, and would be found in the middle otherwise."""
    with pytest.raises(HypervisorError, match=NOBODY):
        pair.here.live_definition(server, GuestChanges(volumes={NOBODY: DISK}))


def test_a_guest_announces_itself_when_it_is_told_to(pair: Pair, server: str) -> None:
    """As often as anybody wants, and also when it is held."""
    for _ in range(2):
        pair.here.announce(server)
    pair.here.pause(server)
    pair.here.announce(server)

    assert pair.here.guest_at(None, server) == HELD


def test_how_fast_a_guest_writes_can_be_measured(pair: Pair, server: str) -> None:
    """This one writes all the time."""
    if isinstance(pair.here, FakeHypervisor):
        pair.here.dirty_rates[server] = 10 * 1024**2
    time.sleep(0.5)  # firmware comes first
    deadline = time.monotonic() + 30
    while pair.here.dirty_rate(server, 1) < 1024**2:
        assert time.monotonic() < deadline


def test_a_guest_that_is_off_says_so(pair: Pair, spec: DomainSpec) -> None:
    """It has nothing that could go anywhere."""
    pair.here.define(spec)
    order = LiveMigration(pair.uris[1], "<domain/>")

    with pytest.raises(GuestNotRunning, match=spec.uuid):
        pair.here.migrate(spec.uuid, order)
    with pytest.raises(GuestNotRunning, match=spec.uuid):
        pair.here.live_definition(spec.uuid)
    with pytest.raises(GuestNotRunning, match=spec.uuid):
        pair.here.dirty_rate(spec.uuid, 1)
    with pytest.raises(GuestNotRunning, match=spec.uuid):
        pair.here.announce(spec.uuid)
    assert places(pair, spec.uuid) == (GuestAt(PowerState.SHUTDOWN), None)


def test_a_missing_guest_is_named(pair: Pair) -> None:
    """As for all other requests."""
    with pytest.raises(DomainNotFound, match=NOBODY):
        pair.here.migrate(NOBODY, LiveMigration(pair.uris[1], "<domain/>"))
    with pytest.raises(DomainNotFound, match=NOBODY):
        pair.here.live_definition(NOBODY)
    with pytest.raises(DomainNotFound, match=NOBODY):
        pair.here.dirty_rate(NOBODY, 1)
    with pytest.raises(DomainNotFound, match=NOBODY):
        pair.here.announce(NOBODY)
    assert places(pair, NOBODY) == (None, None)
