"""Volume usage: what a server has read from its volumes and written to them."""

from __future__ import annotations

from typing import Any

from nova_lite.model.diagnostics import DiskStats
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

_COUNTERS = ("reads", "read_bytes", "writes", "write_bytes")

_ABOUT = ("volume_id", "project_id", "user_id", "availability_zone", "instance_uuid")


def counters(tools: Toolbox, server_uuid: str) -> dict[str, DiskStats]:
    """The counters of a running guest's volumes, by volume id.

    :raises DomainNotFound: there is no guest
    """
    disks = {d.target: d.serial for d in tools.hypervisor.disks(server_uuid) if d.plugged}
    if not any(disks.values()):
        return {}
    stats = tools.hypervisor.stats(server_uuid).disks
    return {serial: disk for disk in stats if (serial := disks.get(disk.target)) is not None}


def record(
    tools: Toolbox,
    context: RequestContext,
    instance: WireObject,
    volume_id: str,
    stats: DiskStats,
    *,
    ended: bool = False,
) -> None:
    """Record the counters of one volume, and notify of them.

    :param ended: the volume was detached
    """
    usage = tools.volume_usages.save(
        context,
        ended=ended,
        volume_id=volume_id,
        instance_uuid=str(instance["uuid"]),
        project_id=instance.get("project_id"),
        user_id=instance.get("user_id"),
        availability_zone=instance.get("availability_zone"),
        curr_reads=stats.read_requests,
        curr_read_bytes=stats.read_bytes,
        curr_writes=stats.write_requests,
        curr_write_bytes=stats.write_bytes,
    )
    if tools.notifier.on:
        tools.notifier.volume_usage(context, _used(usage))


def _used(usage: dict[str, Any]) -> dict[str, Any]:
    """What notifications tell: all since the volume was first seen."""
    times = [t for t in (usage.get("tot_last_refreshed"), usage.get("curr_last_refreshed")) if t]
    return {
        **{name: usage.get(name) for name in _ABOUT},
        **{
            name: int(usage.get(f"tot_{name}") or 0) + int(usage.get(f"curr_{name}") or 0)
            for name in _COUNTERS
        },
        "last_refreshed": max(times, default=None),
    }
