"""What libvirt tells of a migration: statistics of a job, the state of a guest on either host.

https://libvirt.org/html/libvirt-libvirt-domain.html (virDomainGetJobStats, virDomainGetState)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.states import power_state
from nova_lite.model.live_migration import (
    GuestAt,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)

_PHASES = {
    libvirt.VIR_DOMAIN_JOB_BOUNDED: MigrationPhase.RUNNING,
    libvirt.VIR_DOMAIN_JOB_UNBOUNDED: MigrationPhase.RUNNING,
    libvirt.VIR_DOMAIN_JOB_COMPLETED: MigrationPhase.COMPLETED,
    libvirt.VIR_DOMAIN_JOB_FAILED: MigrationPhase.FAILED,
    libvirt.VIR_DOMAIN_JOB_CANCELLED: MigrationPhase.CANCELLED,
}
# (state, reason) of a guest that a migration has made something of.
_MIGRATING = {
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): Migrating.POST_COPY,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): Migrating.BROKEN,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): Migrating.POST_COPY,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): Migrating.BROKEN,
}
_HELD = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)


def progress(stats: Mapping[str, Any], *, post_copy: bool = False) -> MigrationProgress:
    """Of the statistics of a job that sends a guest away; NONE of any other.

    :param post_copy: the guest runs over there already
    """
    phase = _PHASES.get(stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE), MigrationPhase.NONE)
    if phase == MigrationPhase.NONE or not is_sending(stats):
        return MigrationProgress(MigrationPhase.NONE)
    if phase == MigrationPhase.RUNNING and post_copy:
        phase = MigrationPhase.POST_COPY
    page = stats.get("memory_page_size", 4096)
    return MigrationProgress(
        phase=phase,
        memory_total=stats.get("memory_total", 0),
        memory_processed=stats.get("memory_processed", 0),
        memory_remaining=stats.get("memory_remaining", 0),
        disk_total=stats.get("disk_total", 0),
        disk_processed=stats.get("disk_processed", 0),
        disk_remaining=stats.get("disk_remaining", 0),
        elapsed_s=stats.get("time_elapsed", 0) / 1000,
        downtime_ms=stats.get("downtime", 0),
        iteration=stats.get("memory_iteration", 0),
        dirty_bytes_s=stats.get("memory_dirty_rate", 0) * page,
        bandwidth_bytes_s=stats.get("memory_bps", 0),
        auto_converge_percent=stats.get("auto_converge_throttle", 0),
        error=stats.get("errmsg", ""),
    )


def completed(stats: Mapping[str, Any]) -> MigrationProgress:
    """Of the event VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, which has no type; NONE of other jobs.

    libvirt 9.0 sends it of migrations that succeeded only.
    """
    failed = stats.get("success") is False or bool(stats.get("errmsg"))
    phase = libvirt.VIR_DOMAIN_JOB_FAILED if failed else libvirt.VIR_DOMAIN_JOB_COMPLETED
    return progress({**stats, "type": phase})


def is_sending(stats: Mapping[str, Any]) -> bool:
    """Whether the job is one that sends a guest to another host."""
    return bool(stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)


def guest_at(state: int, reason: int, operation: int) -> GuestAt:
    """What a migration makes of a guest with this state.

    :param operation: of the job that it has (VIR_DOMAIN_JOB_OPERATION_*)
    """
    power = power_state(state)
    migrating = _MIGRATING.get((state, reason), Migrating.NO)
    if migrating == Migrating.NO:
        if operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
            migrating = Migrating.ARRIVING
        elif (state, reason) == _HELD:
            sending = operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
            migrating = Migrating.LEAVING if sending else Migrating.UNDECIDED
    return GuestAt(power, migrating)
