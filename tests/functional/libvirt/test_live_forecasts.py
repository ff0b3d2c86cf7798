"""What is forecast of a live migration, beside what real ones of real guests make of it.

Guests are emulated here: how fast they write depends on what else the processors do, and they write
more slowly while their pages are being watched. So the seconds are printed, not judged; whether it
ends, by what way, and who writes more is the same on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor
from nova_lite.model.domain import DomainSpec
from nova_lite.model.live_migration import (
    GuestAt,
    LiveMigration,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState
from nova_lite.services.forecast import (
    Choice,
    Limits,
    Load,
    Method,
    choose,
    describe,
    working_set,
)
from tests.fakes.guests import MIB, tiny_guest, writing_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.libvirt_driver import connected, driver_at

pytestmark = pytest.mark.libvirt

LINK_MIB_S = 16
DOWNTIME_MS = 500
PATIENCE_S = 120.0
GUESTS: dict[str, Callable[[Path], DomainSpec]] = {
    "idle": lambda directory: tiny_guest(directory, disks=()),
    "medium": lambda directory: writing_guest(directory, pause=200_000),
    "heavy": lambda directory: writing_guest(directory, pause=200),
}


@dataclass
class Pair:
    """Two hosts, and where the second one is reached."""

    here: LibvirtHypervisor
    there: LibvirtHypervisor
    address: str

    def start(self, spec: DomainSpec) -> str:
        """Start a guest; when this returns, firmware is behind it."""
        self.here.define(spec)
        self.here.start(spec.uuid)
        time.sleep(1.5)
        return spec.uuid

    def measure(self, uuid: str) -> Load:
        """As the agent does."""
        memory = 64 * MIB
        short, long = (self.here.dirty_rate(uuid, seconds) for seconds in (1, 2))
        return Load(memory, max(short, long), working_set((short, 1), (long, 2)))

    def send(self, uuid: str, method: Method) -> MigrationProgress:
        """By a method, and how it went; ``dirty_bytes_s`` is the most on the way."""
        order = LiveMigration(
            f"qemu+tcp://{self.address}/system",
            self.here.live_definition(uuid),
            f"tcp://{self.address}",
            bandwidth_mib_s=LINK_MIB_S,
            post_copy=method == Method.POST_COPY,
            auto_converge=method == Method.AUTO_CONVERGE,
        )
        self.here.migrate(uuid, order)
        deadline, written = time.monotonic() + PATIENCE_S, 0
        while not (found := self.here.migration(uuid)).over:
            written = max(written, found.dirty_bytes_s)
            assert time.monotonic() < deadline, found
            self.here.set_migration_downtime(uuid, DOWNTIME_MS)
            if method == Method.POST_COPY and found.iteration > 1:
                self.here.begin_post_copy(uuid)
            time.sleep(0.1)
        return replace(found, dirty_bytes_s=written)


@pytest.fixture
def pair(
    linked_libvirtds: tuple[tuple[PrivateLibvirtd, str], tuple[PrivateLibvirtd, str]],
) -> Iterator[Pair]:
    (first, _), (second, address) = linked_libvirtds
    here, there = driver_at(first.uri), driver_at(second.uri)
    with connected(here), connected(there):
        yield Pair(here, there, address)


def permitted(load: Load, *methods: Method) -> Choice:
    limits = Limits(((0, DOWNTIME_MS),), timeout_s=PATIENCE_S, methods=frozenset(methods))
    return choose(load, LINK_MIB_S * MIB, limits)


@pytest.mark.parametrize("kind", GUESTS)
def test_a_migration_beside_its_forecast(
    pair: Pair, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes by the way that was chosen, and ends as that says it does."""
    uuid = pair.start(GUESTS[kind](tmp_path))
    load = pair.measure(uuid)
    choice = permitted(load, Method.PRE_COPY, Method.POST_COPY)
    assert choice.forecast is not None

    ended = pair.send(uuid, choice.forecast.method)

    known = "all of it" if load.working_set is None else f"{load.working_set // MIB} MiB"
    with capsys.disabled():
        print(
            f"\n{kind}: writes {load.dirty_rate // MIB} MiB/s to {known}; "
            f"{'; '.join(describe(one) for one in choice.all)}\n"
            f"  outcome: {choice.forecast.method}, {ended.elapsed_s:.1f} s, "
            f"{ended.downtime_ms} ms, {ended.memory_processed // MIB} MiB sent at "
            f"{ended.bandwidth_bytes_s // MIB} MiB/s, "
            f"the guest wrote {ended.dirty_bytes_s // MIB} MiB/s meanwhile"
        )
    assert (ended.phase, ended.error) == (MigrationPhase.COMPLETED, "")
    assert pair.here.guest_at(None, uuid) is None
    assert pair.there.guest_at(None, uuid) == GuestAt(PowerState.RUNNING)
    if kind != "medium":  # how fast that one is depends on the machine
        heavy = choice.forecast.method == Method.POST_COPY
        assert heavy == (kind == "heavy")


def test_who_writes_faster_than_the_link_takes_would_be_refused(
    pair: Pair, tmp_path: Path
) -> None:
    """And does not arrive indeed, when it is sent all the same."""
    uuid = pair.start(GUESTS["heavy"](tmp_path))
    assert permitted(pair.measure(uuid), Method.PRE_COPY).forecast is None

    pair.here.migrate(uuid, LiveMigration(
        f"qemu+tcp://{pair.address}/system", pair.here.live_definition(uuid),
        f"tcp://{pair.address}", bandwidth_mib_s=LINK_MIB_S,
    ))  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while (found := pair.here.migration(uuid)).iteration < 4:
        assert found.active and time.monotonic() < deadline, found
        pair.here.set_migration_downtime(uuid, DOWNTIME_MS)
        time.sleep(0.1)

    assert found.memory_remaining / (LINK_MIB_S * MIB) > DOWNTIME_MS / 1000
    pair.here.abort_migration(uuid)
    while pair.here.migration(uuid).active:
        time.sleep(0.1)
    assert pair.here.guest_at(None, uuid) == GuestAt(PowerState.RUNNING)


def test_a_measurement_of_a_killed_agent_is_waited_for(pair: Pair, tmp_path: Path) -> None:
    """QEMU has one at a time; the next agent gets one of its own all the same."""
    uuid = pair.start(GUESTS["heavy"](tmp_path))
    pair.here._with_domain("begin", uuid, lambda domain: domain.startDirtyRateCalc(3, 0))

    began = time.monotonic()
    assert pair.here.dirty_rate(uuid, 1) > MIB
    assert time.monotonic() - began > 3
