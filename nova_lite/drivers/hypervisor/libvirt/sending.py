"""Migrations that this process has begun, and what libvirt told of them.

The call that begins one returns when it is over. It has a thread and a connection of its own:
libvirtd answers only a few calls of one connection at the same time, and these take long.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import event_loop, migration_stats
from nova_lite.drivers.hypervisor.libvirt.connection import (
    KEEPALIVE_COUNT,
    KEEPALIVE_INTERVAL,
    format_version,
    is_lost,
)
from nova_lite.errors import InvalidConfiguration
from nova_lite.model.host import DomainEvent
from nova_lite.model.live_migration import LiveMigration, MigrationPhase, MigrationProgress

PARALLEL_POST_COPY = 10_001_000  # QEMU that has both; libvirt's integer
# How many migrations that are over are remembered.
REMEMBERED = 64


def check_options(options: Any, qemu_version: int) -> None:
    """Refuse at start what QEMU would refuse at every migration, as nova-compute 2026.2 does.

    :param options: [libvirt]
    :raises InvalidConfiguration: they do not go together with this QEMU
    """
    both = options.live_migration_parallel_connections > 1 and (
        options.live_migration_permit_post_copy
    )
    if both and qemu_version < PARALLEL_POST_COPY:
        raise InvalidConfiguration(
            "[libvirt]live_migration_parallel_connections above 1 and "
            "live_migration_permit_post_copy need QEMU "
            f"{format_version(PARALLEL_POST_COPY)}, this is {format_version(qemu_version)}: set "
            "the first to 1, or the second to false"
        )


class Sending:
    """One call of migrateToURI3.

    :param resume: bring one that broke in post-copy to its end
    """

    def __init__(self, uri: str, uuid: str, migration: LiveMigration, *, resume: bool) -> None:
        self._uri, self._uuid = uri, uuid
        self._migration = migration
        self._resume = resume
        self._finished = threading.Event()
        self.aborted = False
        self.error: libvirt.libvirtError | None = None
        self._lost = False

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"migrate-{self._uuid[:8]}", daemon=True).start()

    @property
    def under_way(self) -> bool:
        return not self._finished.is_set()

    @property
    def lost(self) -> bool:
        """Whether the connection broke, which says nothing of the migration."""
        return self._lost

    def outcome(self) -> MigrationProgress:
        """How it ended; it has."""
        if self.error is None:
            return MigrationProgress(MigrationPhase.COMPLETED)
        cancelled = self.error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED
        return MigrationProgress(
            MigrationPhase.CANCELLED if cancelled else MigrationPhase.FAILED,
            error=self.error.get_error_message() or str(self.error),
        )

    def _run(self) -> None:
        try:
            self._send()
        except libvirt.libvirtError as error:
            self.error = error
        finally:
            self._finished.set()

    def _send(self) -> None:
        event_loop.ensure_started()
        connection = libvirt.open(self._uri)
        try:
            connection.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
            domain = connection.lookupByUUIDString(self._uuid)
            wanted = self._migration
            domain.migrateToURI3(
                wanted.target_uri, parameters(wanted), flags(wanted, resume=self._resume)
            )
        except libvirt.libvirtError as error:
            # An error of the daemon's own connection to the other one looks the same.
            self._lost = is_lost(error) and not _answers(connection)
            raise
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()


def _answers(connection: Any) -> bool:
    try:
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True


class Sendings:
    """The migrations of one libvirtd.

    :param uri: of the daemon
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._sendings: dict[str, Sending] = {}
        self._seen: OrderedDict[str, MigrationProgress] = OrderedDict()
        self._held: set[str] = set()

    def register(self, connection: Any) -> None:
        """Ask a newly opened connection to tell how jobs end."""
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._on_completed, None
        )

    def begin(self, uuid: str, migration: LiveMigration, *, resume: bool) -> None:
        """Start one, unless it is under way."""
        with self._lock:
            known = self._sendings.get(uuid)
            if known is not None and known.under_way:
                return
            self._seen.pop(uuid, None)
            self._held.discard(uuid)
            sending = Sending(self._uri, uuid, migration, resume=resume)
            self._sendings[uuid] = sending
        sending.start()

    def get(self, uuid: str) -> Sending | None:
        """The last one of this guest that this process has begun, if its end is not unknown."""
        with self._lock:
            known = self._sendings.get(uuid)
            if known is not None and known.lost:
                del self._sendings[uuid]
                return None
            return known

    def seen(self, uuid: str) -> MigrationProgress | None:
        """What was known of the guest's migration last."""
        return self._seen.get(uuid)

    def see(self, uuid: str, progress: MigrationProgress) -> MigrationProgress:
        """Remember and return what is known now."""
        with self._lock:
            self._seen[uuid] = progress
            self._seen.move_to_end(uuid)
            while len(self._seen) > REMEMBERED:
                gone, _ = self._seen.popitem(last=False)
                self._held.discard(gone)
                if gone in self._sendings and not self._sendings[gone].under_way:
                    del self._sendings[gone]
        return progress

    def on_event(self, event: DomainEvent) -> None:
        """A guest changed."""
        if event.of_migration and event.kind == "paused":
            self.hold(event.uuid)

    def hold(self, uuid: str) -> None:
        """The guest stands still for the last of its memory to go."""
        self._held.add(uuid)

    def is_held(self, uuid: str) -> bool:
        """Whether it stood still in the last migration that was begun here."""
        return uuid in self._held

    def _on_completed(
        self, _connection: Any, domain: Any, stats: dict[str, Any], _opaque: object
    ) -> None:
        """On libvirt's event thread."""
        found = migration_stats.completed(stats)
        if found.over:
            self.see(domain.UUIDString(), found)


def with_outcome(outcome: MigrationProgress, seen: MigrationProgress | None) -> MigrationProgress:
    """How a migration ended, with the figures that were known last."""
    if seen is None:
        return outcome
    left = (0, 0) if outcome.phase == MigrationPhase.COMPLETED else (
        seen.memory_remaining, seen.disk_remaining)  # fmt: skip
    return replace(
        seen,
        phase=outcome.phase,
        error=outcome.error,
        memory_remaining=left[0],
        disk_remaining=left[1],
    )


def flags(wanted: LiveMigration, *, resume: bool = False) -> int:
    """VIR_MIGRATE_* flags, those of stock nova-compute."""
    chosen = (
        libvirt.VIR_MIGRATE_LIVE
        | libvirt.VIR_MIGRATE_PEER2PEER
        | libvirt.VIR_MIGRATE_PERSIST_DEST
        | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    )
    if resume:
        # Copies of disks were complete before; what is left in post-copy has one connection.
        return int(
            chosen | libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
            | (libvirt.VIR_MIGRATE_TLS if wanted.tls else 0)
        )  # fmt: skip
    for asked, flag in (
        # Without a list of disks libvirt would copy all of them, shared ones, too.
        (bool(wanted.disks), libvirt.VIR_MIGRATE_NON_SHARED_INC),
        (wanted.post_copy, libvirt.VIR_MIGRATE_POSTCOPY),
        (wanted.auto_converge, libvirt.VIR_MIGRATE_AUTO_CONVERGE),
        (wanted.tls, libvirt.VIR_MIGRATE_TLS),
        (wanted.connections > 1, libvirt.VIR_MIGRATE_PARALLEL),
    ):
        if asked:
            chosen |= flag
    return int(chosen)


def parameters(wanted: LiveMigration) -> dict[str, Any]:
    """VIR_MIGRATE_PARAM_* of a migration."""
    found: dict[str, Any] = {
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: wanted.definition,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: wanted.persistent or wanted.definition,
    }
    if wanted.bandwidth_mib_s:
        found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = wanted.bandwidth_mib_s
    if wanted.migrate_uri:
        found[libvirt.VIR_MIGRATE_PARAM_URI] = wanted.migrate_uri
    if wanted.disks:
        found[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(wanted.disks)
    if wanted.connections > 1:
        found[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = wanted.connections
    if wanted.listen:
        found[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = wanted.listen
    return found
