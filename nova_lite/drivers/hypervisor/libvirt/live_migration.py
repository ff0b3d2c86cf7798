"""Guests that go to other hosts while they run.

libvirt's peer-to-peer migration: the two daemons do it among themselves, also when the process that
began it dies.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeGuard

import libvirt

from nova_lite.drivers.hypervisor.libvirt import migration_stats, moved_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find, is_invalid
from nova_lite.drivers.hypervisor.libvirt.sending import Sending, Sendings, with_outcome
from nova_lite.drivers.hypervisor.live_migrations import NOTHING
from nova_lite.errors import GuestNotRunning, HypervisorError, HypervisorUnavailable
from nova_lite.model.live_migration import (
    GuestAt,
    GuestChanges,
    LiveMigration,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState

LOG = logging.getLogger(__name__)

NONE = MigrationProgress(MigrationPhase.NONE)
# Seconds beyond the time that is measured, and between looks.
DIRTY_RATE_PATIENCE = 10.0
DIRTY_RATE_PAUSE = 0.1
# QEMU's own figures for the end of a migration (docs/interop/qemu-qmp-ref, announce-self): five
# rounds in about a second, milliseconds apart.
ANNOUNCE = json.dumps({
    "execute": "announce-self",
    "arguments": {"initial": 50, "max": 550, "rounds": 5, "step": 100},
})  # fmt: skip
# libvirt keeps the statistics for whoever asks next.
_LAST = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED


class _Found(NamedTuple):
    """A guest that is on, and its job."""

    at: GuestAt
    progress: MigrationProgress


class Migrations(Calls):
    """The part of the Hypervisor contract that sends guests to other hosts."""

    _sendings: Sendings

    def migrate(self, uuid: str, migration: LiveMigration) -> None:
        found = self._with_domain(f"begin to migrate guest {uuid}", uuid, _look)
        if found is None:
            raise GuestNotRunning(f"Instance {uuid} is not running.")
        if found.progress.active and found.at.migrating != Migrating.BROKEN:
            return
        if found.at.power_state != PowerState.RUNNING and migration.post_copy:
            migration = replace(migration, post_copy=False)  # QEMU: only of a guest that runs
        broken = found.at.migrating == Migrating.BROKEN
        self._sendings.begin(uuid, migration, resume=broken)

    def migration(self, uuid: str) -> MigrationProgress:
        sending = self._sendings.get(uuid)
        found = self._call(f"look at the migration of guest {uuid}", _looking_for(uuid))
        if found is not None and found.at.migrating not in (Migrating.NO, Migrating.ARRIVING):
            self._sendings.hold(uuid)
        known = self._progress(uuid, sending, found)
        return replace(known, held=self._sendings.is_held(uuid))

    def _progress(
        self, uuid: str, sending: Sending | None, found: _Found | None
    ) -> MigrationProgress:
        if found is not None and found.progress.active:
            if (
                sending is not None
                and sending.aborted
                and found.progress.phase == MigrationPhase.RUNNING
            ):
                self.abort_migration(uuid)  # it was asked for before there was anything to abort
            return self._sendings.see(uuid, found.progress)
        seen = self._sendings.seen(uuid)
        if sending is not None and sending.under_way:
            return _at_the_edge(seen)
        if sending is not None:
            outcome = with_outcome(sending.outcome(), seen)
            if outcome.phase == MigrationPhase.COMPLETED or not _was_in_post_copy(seen):
                return outcome
            return _after_post_copy(seen, outcome, found)
        return self._without_sending(uuid, seen, here=found is not None)

    def _without_sending(
        self, uuid: str, seen: MigrationProgress | None, *, here: bool
    ) -> MigrationProgress:
        """How one ended that another process has begun."""
        if not here:
            return seen if seen is not None and seen.over else NONE
        last = self._call(f"look for the last migration of guest {uuid}", _last_of(uuid))
        # One that is here has come back since.
        return NONE if last.phase == MigrationPhase.COMPLETED else last

    def set_migration_downtime(self, uuid: str, milliseconds: int) -> None:
        def set_downtime(domain: Any) -> None:
            domain.migrateSetMaxDowntime(milliseconds, 0)

        self._while_migrating(f"set the downtime of guest {uuid}", uuid, set_downtime)

    def abort_migration(self, uuid: str) -> None:
        sending = self._sendings.get(uuid)
        if sending is not None and sending.under_way:
            sending.aborted = True
        self._while_migrating(
            f"abort the migration of guest {uuid}", uuid, lambda domain: domain.abortJob()
        )

    def begin_post_copy(self, uuid: str) -> None:
        def begin(domain: Any) -> None:
            found = _look(domain)
            if found is not None and found.progress.phase != MigrationPhase.POST_COPY:
                domain.migrateStartPostCopy(0)

        self._while_migrating(f"begin post-copy of guest {uuid}", uuid, begin)

    def _while_migrating(self, what: str, uuid: str, act: Callable[[Any], object]) -> None:
        """Do what can be done only as long as a guest is being sent."""

        def guarded(connection: Any) -> None:
            domain = find(connection, uuid)
            if domain is None or not _is_sent(domain):
                return
            try:
                act(domain)
            except libvirt.libvirtError as error:
                if not (is_invalid(error) and not _is_sent(domain)):
                    raise

        self._call(what, guarded)

    def guest_at(self, uri: str | None, uuid: str) -> GuestAt | None:
        if uri is None:
            return self._call(f"look at guest {uuid}", lambda c: _at(c, uuid))
        return self._connection.elsewhere(
            f"look at guest {uuid} at {uri}", uri, lambda c: _at(c, uuid)
        )

    def announce(self, uuid: str) -> None:
        def announce(domain: Any) -> None:
            import libvirt_qemu

            if not domain.isActive():
                raise GuestNotRunning(f"Instance {uuid} is not running.")
            libvirt_qemu.qemuMonitorCommand(domain, ANNOUNCE, 0)

        self._with_domain(f"let guest {uuid} announce itself", uuid, announce)

    def dirty_rate(self, uuid: str, seconds: int) -> int:
        def measure(domain: Any) -> int:
            if not domain.isActive():
                raise GuestNotRunning(f"Instance {uuid} is not running.")
            # QEMU refuses a second one: an agent that was killed may have begun the first.
            _wait_for_rate(domain, DIRTY_RATE_PATIENCE, begun=False)
            domain.startDirtyRateCalc(seconds, 0)
            return _wait_for_rate(domain, seconds + DIRTY_RATE_PATIENCE, begun=True)

        what = f"measure how fast guest {uuid} writes to its memory"
        return self._with_domain(what, uuid, measure, seconds + 3 * DIRTY_RATE_PATIENCE)

    def live_definition(self, uuid: str, changes: GuestChanges = NOTHING) -> str:
        def read(domain: Any) -> str:
            if not domain.isActive():
                raise GuestNotRunning(f"Instance {uuid} is not running.")
            return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE
                                      | libvirt.VIR_DOMAIN_XML_SECURE))  # fmt: skip

        xml = self._with_domain(f"read the definition of guest {uuid}", uuid, read)
        return moved_xml.moved(xml, changes)


def _at_the_edge(seen: MigrationProgress | None) -> MigrationProgress:
    """What a migration without a job is: at its very beginning or end."""
    if seen is None or seen.active:
        return seen or MigrationProgress(MigrationPhase.RUNNING)
    return replace(seen, phase=MigrationPhase.RUNNING)


def _was_in_post_copy(seen: MigrationProgress | None) -> TypeGuard[MigrationProgress]:
    return seen is not None and seen.phase == MigrationPhase.POST_COPY


def _after_post_copy(
    seen: MigrationProgress, outcome: MigrationProgress, found: _Found | None
) -> MigrationProgress:
    """What is known when the call that began a migration has failed in post-copy.

    QEMU goes on by itself when its connection recovers; then nothing is left here.
    """
    if found is None:
        return NONE
    broken = found.at.migrating in (Migrating.POST_COPY, Migrating.BROKEN)
    return replace(seen, error=outcome.error) if broken else outcome


def _looking_for(uuid: str) -> Callable[[Any], _Found | None]:
    def look(connection: Any) -> _Found | None:
        domain = find(connection, uuid)
        return _look(domain) if domain is not None else None

    return look


def _look(domain: Any) -> _Found | None:
    """None: it is off, or gone meanwhile."""
    try:
        state, reason = domain.state()
        stats = _stats(domain, 0)
    except libvirt.libvirtError as error:
        if is_invalid(error):
            return None
        raise
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return None
    at = migration_stats.guest_at(state, reason, stats.get("operation", 0))
    post_copy = at.migrating in (Migrating.POST_COPY, Migrating.BROKEN)
    return _Found(at, migration_stats.progress(stats, post_copy=post_copy))


def _is_sent(domain: Any) -> bool:
    found = _look(domain)
    return found is not None and found.progress.active


def _stats(domain: Any, flags: int) -> dict[str, Any]:
    """Statistics of the guest's job; empty for a guest that is off or has none.

    :raises HypervisorUnavailable: libvirt cannot tell, for the job keeps it busy
    """
    try:
        return dict(domain.jobStats(flags))
    except libvirt.libvirtError as error:
        if is_invalid(error):
            return {}
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            # "migration statistics are available only on the source host"
            return {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN}
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            # A migration that stalls holds the guest's lock; libvirt waits 30 s for it.
            raise HypervisorUnavailable(
                f"could not look at the job of guest {domain.UUIDString()}: "
                f"{error.get_error_message()}"
            ) from error
        raise


def _last_of(uuid: str) -> Callable[[Any], MigrationProgress]:
    def last(connection: Any) -> MigrationProgress:
        domain = find(connection, uuid)
        return NONE if domain is None else migration_stats.progress(_stats(domain, _LAST))

    return last


def _at(connection: Any, uuid: str) -> GuestAt | None:
    domain = find(connection, uuid)
    if domain is None:
        return None
    state, reason = domain.state()
    operation = _stats(domain, 0).get("operation", 0)
    return migration_stats.guest_at(state, reason, operation)


def _wait_for_rate(domain: Any, patience: float, *, begun: bool) -> int:
    """What was measured last, bytes per second, as soon as nothing is being measured.

    :param begun: a measurement was begun, though it may not show yet; else 0 where there was none
    :raises HypervisorError: it is not over in time
    """
    deadline = time.monotonic() + patience
    name = domain.UUIDString()
    while True:
        ((_, stats),) = domain.connect().domainListGetStats(
            [domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE
        )
        status = stats.get("dirtyrate.calc_status", libvirt.VIR_DOMAIN_DIRTYRATE_UNSTARTED)
        over = status == libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED
        if over or (status == libvirt.VIR_DOMAIN_DIRTYRATE_UNSTARTED and not begun):
            return int(stats.get("dirtyrate.megabytes_per_second", 0)) * 1024**2
        if time.monotonic() > deadline:
            raise HypervisorError(f"QEMU does not tell how fast guest {name} writes to its memory")
        time.sleep(DIRTY_RATE_PAUSE)
