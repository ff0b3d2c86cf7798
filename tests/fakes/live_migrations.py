"""Live migrations between fake hypervisors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova_lite.drivers.hypervisor.live_migrations import NOTHING, LiveMigrations
from nova_lite.errors import CpuIncompatible, HypervisorError, HypervisorUnavailable
from nova_lite.model.domain import DiskSpec, DomainSpec
from nova_lite.model.live_migration import (
    GuestAt,
    GuestChanges,
    LiveMigration,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState

if TYPE_CHECKING:
    from tests.fakes.hypervisor import FakeHypervisor

OFF = (PowerState.SHUTDOWN, PowerState.CRASHED)
GIB = 1024**3
# The CPU of a fake host, and what else libvirt knows.
MODEL, FEATURES = "Skylake-Server", ("aes", "avx2", "sse")
MODELS = (MODEL, "Nehalem")


@dataclass
class Guest:
    """What would be a QEMU process or a definition; ``before`` what was here when it came."""

    spec: DomainSpec
    state: PowerState = PowerState.SHUTDOWN
    saved: bool = False
    plugged: tuple[DiskSpec, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    mirrors: dict[Path, tuple[Path, str]] = field(default_factory=dict)
    moves: dict[str, DiskSpec] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    migrating: Migrating = Migrating.NO
    before: Guest | None = None


@dataclass
class Sent:
    """A migration from here; ``looks`` is how many more looks find it under way."""

    migration: LiveMigration
    looks: int
    phase: MigrationPhase = MigrationPhase.RUNNING
    error: str = ""
    downtime_ms: int = 300
    paused: bool = False
    held: bool = False


class FakeLiveMigrations(LiveMigrations):
    """``hypervisors`` maps URIs to the fakes there, one that is None does not answer.

    A migration is under way for ``migration_looks`` looks at it and has succeeded then, or failed
    with ``migration_error``; ``arrive``, ``lose`` and ``split`` end it at once (``migration_looks``
    may be very large). ``sent`` has them by guest. ``forget_migrations`` is what a new process
    knows.
    ``nvrams`` of guests that leave stay, as libvirt's files do.
    ``cpu_features`` are those that its CPU has, of whatever model.
    """

    guests: dict[str, Guest]
    nvrams: dict[str, bytes]
    available: bool
    emit: Callable[..., None]
    _called: Callable[..., None]
    _running: Callable[[str, str], Guest]

    def __init__(self) -> None:
        self.hypervisors: dict[str, FakeHypervisor | None] = {}
        self.sent: dict[str, Sent] = {}
        self.migration_looks = 1
        self.migration_error = ""
        self.dirty_rates: dict[str, int] = {}
        self.cpu_features = set(FEATURES)

    # --- for tests ----------------------------------------------------------------------------
    def arrive(self, uuid: str) -> None:
        """The guest runs on the other host, and this one has forgotten it."""
        sent = self.sent[uuid]
        other = self._there(sent)
        self.emit(uuid, "paused", "migrated")
        del self.guests[uuid]
        arrived = other.guests[uuid]
        arrived.state = PowerState.PAUSED if sent.paused else PowerState.RUNNING
        arrived.migrating = Migrating.NO
        arrived.plugged, arrived.before = arrived.spec.disks, None
        if uuid in self.tpm_states:
            other.tpm_states[uuid] = self.tpm_states.pop(uuid)
        if uuid in self.nvrams:
            other.nvrams[uuid] = self.nvrams[uuid]
        sent.phase, sent.held = MigrationPhase.COMPLETED, True
        other.emit(uuid, "resumed", "migrated")
        self.emit(uuid, "stopped", "migrated")

    def lose(self, uuid: str, error: str, phase: MigrationPhase = MigrationPhase.FAILED) -> None:
        """The migration ends, and the guest goes on here."""
        sent = self.sent[uuid]
        sent.phase, sent.error = phase, error
        other = self.hypervisors.get(sent.migration.target_uri)
        if other is not None and uuid in other.guests:
            other.drop_arriving(uuid)
        self.guests[uuid].migrating = Migrating.NO

    def split(self, uuid: str, error: str = "client socket is closed") -> None:
        """The other host lets the guest go on, its answer gets lost, and so does this one."""
        sent = self.sent[uuid]
        self.arrive(uuid)
        self.guests[uuid] = Guest(self._there(sent).guests[uuid].spec, PowerState.RUNNING)
        sent.phase, sent.error = MigrationPhase.FAILED, error

    def receive(self, spec: DomainSpec) -> None:
        """A guest begins to come."""
        self.guests[spec.uuid] = Guest(
            spec, PowerState.PAUSED, migrating=Migrating.ARRIVING, before=self.guests.get(spec.uuid)
        )
        self.emit(spec.uuid, "started", "migrated")

    def drop_arriving(self, uuid: str) -> None:
        """A guest that was on its way here does not come."""
        guest = self.guests[uuid]
        if guest.before is not None:
            self.guests[uuid] = guest.before
        elif guest.migrating != Migrating.NO:
            del self.guests[uuid]

    def forget_migrations(self) -> None:
        """Another process asks from now on: what has ended while nobody looked is not known."""
        self.sent = {uuid: sent for uuid, sent in self.sent.items() if _active(sent)}

    # --- the contract -------------------------------------------------------------------------
    def migrate(self, uuid: str, migration: LiveMigration) -> None:
        guest = self._running("migrate", uuid)
        if uuid in self.sent and _active(self.sent[uuid]):
            return
        sent = Sent(migration, self.migration_looks, paused=guest.state == PowerState.PAUSED)
        self.sent[uuid] = sent
        other = self.hypervisors.get(migration.target_uri)
        if other is None:
            self.lose(uuid, f"unable to connect to {migration.target_uri}")
            return
        if uuid in other.guests and other.guests[uuid].state not in OFF:
            self.lose(uuid, f"domain {uuid} is already active")
            return
        spec = TEXTS[migration.definition]
        try:
            other.open_tpm(spec)
        except HypervisorError as error:
            self.lose(uuid, error.message)
            return
        other.receive(spec)
        if uuid in self.nvrams:
            other.nvrams[uuid] = b"new"

    def migration(self, uuid: str) -> MigrationProgress:
        self._called("migration", uuid)
        sent = self.sent.get(uuid)
        if sent is None:
            return MigrationProgress(MigrationPhase.NONE)
        if _active(sent) and uuid not in self.guests:
            self.lose(uuid, "the guest is gone")
        elif _active(sent) and sent.looks <= 0:
            if self.migration_error:
                self.lose(uuid, self.migration_error)
            else:
                self.arrive(uuid)
        sent.looks -= 1
        left = GIB // 2 if _active(sent) else 0
        return MigrationProgress(
            sent.phase, GIB, GIB - left, left, downtime_ms=sent.downtime_ms, error=sent.error,
            held=sent.held,
        )  # fmt: skip

    def set_migration_downtime(self, uuid: str, milliseconds: int) -> None:
        self._called("set_migration_downtime", uuid)
        if uuid in self.sent and _active(self.sent[uuid]):
            self.sent[uuid].downtime_ms = milliseconds

    def abort_migration(self, uuid: str) -> None:
        self._called("abort_migration", uuid)
        sent = self.sent.get(uuid)
        if sent is None or not _active(sent):
            return
        if sent.phase == MigrationPhase.POST_COPY:
            raise HypervisorError("cannot abort a migration in post-copy")
        self.lose(uuid, "operation aborted: canceled by client", MigrationPhase.CANCELLED)

    def begin_post_copy(self, uuid: str) -> None:
        self._called("begin_post_copy", uuid)
        sent = self.sent.get(uuid)
        if sent is None or not _active(sent):
            return
        if not sent.migration.post_copy:
            raise HypervisorError("post-copy was not enabled when the migration began")
        sent.phase, sent.held = MigrationPhase.POST_COPY, True
        guest, arrived = self.guests[uuid], self._there(sent).guests[uuid]
        arrived.state, guest.state = PowerState.RUNNING, PowerState.PAUSED
        guest.migrating = arrived.migrating = Migrating.POST_COPY
        self.emit(uuid, "paused", "postcopy")

    def guest_at(self, uri: str | None, uuid: str) -> GuestAt | None:
        self._called("guest_at", uuid)
        there = self if uri is None else self.hypervisors.get(uri)
        if there is None or not there.available:
            raise HypervisorUnavailable(f"cannot connect to {uri}")
        guest = there.guests.get(uuid)
        return GuestAt(guest.state, guest.migrating) if guest else None

    def announce(self, uuid: str) -> None:
        self._running("announce", uuid)

    def dirty_rate(self, uuid: str, seconds: int) -> int:
        self._running("dirty_rate", uuid)
        return self.dirty_rates.get(uuid, 0)

    def compare_cpu(self, cpu: Mapping[str, Any]) -> None:
        self._called("compare_cpu")
        if cpu.get("model") not in (None, *MODELS):
            raise CpuIncompatible(f"unknown CPU model {cpu['model']}")
        if missing := set(cpu.get("features") or ()) - self.cpu_features:
            raise CpuIncompatible(f"missing features: {', '.join(sorted(missing))}")

    def live_definition(self, uuid: str, changes: GuestChanges = NOTHING) -> str:
        spec = _changed(self._running("live_definition", uuid).spec, changes)
        TEXTS[repr(spec)] = spec
        return repr(spec)

    # --- helpers ------------------------------------------------------------------------------
    def _there(self, sent: Sent) -> FakeHypervisor:
        other = self.hypervisors[sent.migration.target_uri]
        assert other is not None
        return other


# What the fakes have written, as definitions go from one to another.
TEXTS: dict[str, DomainSpec] = {}


def _active(sent: Sent) -> bool:
    return sent.phase in (MigrationPhase.RUNNING, MigrationPhase.POST_COPY)


def _changed(spec: DomainSpec, changes: GuestChanges) -> DomainSpec:
    missing = set(changes.nics) - {nic.mac for nic in spec.nics}
    missing |= set(changes.volumes) - {disk.serial for disk in spec.disks}
    if missing:
        raise HypervisorError(f"guest {spec.uuid} has no {', '.join(sorted(map(str, missing)))}")
    disks = []
    for disk in spec.disks:
        new = changes.volumes.get(disk.serial or "")
        if new is not None:
            disk = replace(disk, source=new.source, source_type=new.source_type,
                           network=new.network, secret_uuid=new.secret_uuid)  # fmt: skip
        disks.append(disk)
    return replace(
        spec,
        nics=tuple(changes.nics.get(nic.mac, nic) for nic in spec.nics),
        disks=tuple(disks),
        graphics=tuple(
            replace(one, listen=changes.listen.get(one.kind, one.listen)) for one in spec.graphics
        ),
        serial_tcp=changes.serial or spec.serial_tcp,
        cpu_tune=changes.pins or spec.cpu_tune,
        cpuset=spec.cpuset if changes.cpuset is None else changes.cpuset,
    )
