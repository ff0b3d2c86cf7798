"""What libvirt tells of migrations, and what it is asked for."""

from __future__ import annotations

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import sending
from nova_lite.drivers.hypervisor.libvirt.migration_stats import completed, guest_at, progress
from nova_lite.model.live_migration import (
    GuestAt,
    LiveMigration,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState

# Recorded of libvirt 9.0.0 and QEMU 7.2.
RUNNING = {
    "type": 2, "operation": 5, "time_elapsed": 2346, "data_total": 85532672,
    "data_processed": 2731347, "data_remaining": 80891904, "memory_total": 84484096,
    "memory_processed": 1682771, "memory_remaining": 80891904, "memory_bps": 8417219,
    "memory_constant": 466, "memory_normal": 408, "memory_normal_bytes": 1671168,
    "memory_dirty_rate": 22591, "memory_iteration": 1, "memory_page_size": 4096,
    "disk_total": 1048576, "disk_processed": 1048576, "disk_remaining": 0, "disk_bps": 0,
    "setup_time": 1, "downtime": 300, "auto_converge_throttle": 20,
}  # fmt: skip
# Of the event: no type.
DONE = {
    "operation": 5, "time_elapsed": 2895, "downtime": 178, "downtime_net": 176,
    "memory_total": 84484096, "memory_remaining": 0, "memory_bps": 123133361,
}  # fmt: skip

NOTHING = MigrationProgress(MigrationPhase.NONE)


def test_a_migration_under_way() -> None:
    """Bytes, and pages as bytes."""
    assert progress(RUNNING) == MigrationProgress(
        MigrationPhase.RUNNING,
        memory_total=84484096,
        memory_processed=1682771,
        memory_remaining=80891904,
        disk_total=1048576,
        disk_processed=1048576,
        elapsed_s=2.346,
        downtime_ms=300,
        iteration=1,
        dirty_bytes_s=22591 * 4096,
        bandwidth_bytes_s=8417219,
        auto_converge_percent=20,
    )
    assert progress(RUNNING, post_copy=True).phase == MigrationPhase.POST_COPY


def test_the_end_of_a_migration() -> None:
    """The event tells what the guest's stop really took."""
    done = completed(DONE)

    assert (done.phase, done.downtime_ms, done.elapsed_s) == (MigrationPhase.COMPLETED, 178, 2.895)
    failed = completed({**DONE, "success": False, "errmsg": "no space"})
    assert (failed.phase, failed.error) == (MigrationPhase.FAILED, "no space")
    cancelled = progress({**DONE, "type": libvirt.VIR_DOMAIN_JOB_CANCELLED}, post_copy=True)
    assert cancelled.phase == MigrationPhase.CANCELLED


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"type": 0},
        {**RUNNING, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE},
        {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN},
    ],
    ids=["none", "no job", "save", "arriving"],
)
def test_other_jobs_are_no_migrations(stats: dict[str, int]) -> None:
    """A guest whose memory is saved, or one that comes, is not being sent."""
    assert progress(stats) == NOTHING
    assert completed({**stats, "operation": 2}) == NOTHING


@pytest.mark.parametrize(
    ("state", "reason", "operation", "wanted"),
    [
        (1, 1, 0, GuestAt(PowerState.RUNNING)),
        (1, 2, 0, GuestAt(PowerState.RUNNING)),
        (3, 1, 0, GuestAt(PowerState.PAUSED)),
        (3, 5, 0, GuestAt(PowerState.PAUSED)),
        (5, 3, 0, GuestAt(PowerState.SHUTDOWN)),
        (1, 1, 5, GuestAt(PowerState.RUNNING)),
        (3, 1, 5, GuestAt(PowerState.PAUSED)),
        (3, 2, 5, GuestAt(PowerState.PAUSED, Migrating.LEAVING)),
        (3, 2, 4, GuestAt(PowerState.PAUSED, Migrating.ARRIVING)),
        (3, 11, 4, GuestAt(PowerState.PAUSED, Migrating.ARRIVING)),
        (3, 2, 0, GuestAt(PowerState.PAUSED, Migrating.UNDECIDED)),
        (3, 12, 5, GuestAt(PowerState.PAUSED, Migrating.POST_COPY)),
        (1, 10, 4, GuestAt(PowerState.RUNNING, Migrating.POST_COPY)),
        (3, 13, 5, GuestAt(PowerState.PAUSED, Migrating.BROKEN)),
        (1, 11, 4, GuestAt(PowerState.RUNNING, Migrating.BROKEN)),
    ],
    ids=str,
)
def test_what_a_migration_makes_of_a_guest(
    state: int, reason: int, operation: int, wanted: GuestAt
) -> None:
    """libvirt's states, reasons and operations together tell."""
    assert guest_at(state, reason, operation) == wanted


def test_only_who_has_all_of_it_is_settled() -> None:
    """Neither a guest that is off, nor one of which a part is on another host."""
    settled = [
        at
        for at in (GuestAt(power, migrating) for power in PowerState for migrating in Migrating)
        if at.settled
    ]
    assert settled == [
        GuestAt(PowerState.RUNNING), GuestAt(PowerState.PAUSED), GuestAt(PowerState.SUSPENDED)
    ]  # fmt: skip


STOCK = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)


def test_flags_are_those_of_stock() -> None:
    """Copying disks is a flag only with disks: without, libvirt would copy shared ones."""
    plain = LiveMigration("qemu+tcp://other/system", "<domain/>")
    full = LiveMigration(
        "qemu+tcp://other/system", "<domain/>", "tcp://10.0.0.2", "<domain-next/>",
        disks=("vda",), bandwidth_mib_s=100, post_copy=True, auto_converge=True, tls=True,
        connections=4, listen="10.0.0.2",
    )  # fmt: skip

    assert sending.flags(plain) == STOCK
    assert sending.parameters(plain) == {
        "destination_xml": "<domain/>", "persistent_xml": "<domain/>"
    }  # fmt: skip
    assert sending.flags(full) == (
        STOCK
        | libvirt.VIR_MIGRATE_NON_SHARED_INC
        | libvirt.VIR_MIGRATE_POSTCOPY
        | libvirt.VIR_MIGRATE_AUTO_CONVERGE
        | libvirt.VIR_MIGRATE_TLS
        | libvirt.VIR_MIGRATE_PARALLEL
    )
    assert sending.parameters(full) == {
        "destination_xml": "<domain/>",
        "persistent_xml": "<domain-next/>",
        "migrate_uri": "tcp://10.0.0.2",
        "migrate_disks": ["vda"],
        "bandwidth": 100,
        "parallel.connections": 4,
        "listen_address": "10.0.0.2",
    }


def test_one_that_broke_is_resumed_with_less() -> None:
    """Disks were copied before, and throttling makes no sense any more."""
    wanted = LiveMigration("uri", "<domain/>", disks=("vda",), post_copy=True, tls=True)

    assert sending.flags(wanted, resume=True) == (
        STOCK
        | libvirt.VIR_MIGRATE_POSTCOPY
        | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
        | libvirt.VIR_MIGRATE_TLS
    )
