"""Telling the cloud how much a server has read from its volumes and written to them."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from nova_lite.errors import DomainNotFound
from nova_lite.model.diagnostics import DiskStats
from nova_lite.steps.base import Step, Work
from nova_lite.steps.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

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

    :param ended: the guest lets go of the volume
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


class _UsageStep(Step):
    def __init__(self, work: Work, mapping: WireObject) -> None:
        super().__init__(work)
        self._volume_id = str(mapping["volume_id"])


class ReadUsage(_UsageStep):
    """Note a volume's counters while the guest still has it."""

    name = "read_usage"

    def do(self) -> None:
        try:
            stats = counters(self.tools, self.work.uuid).get(self._volume_id)
        except DomainNotFound:
            stats = None
        if stats is not None:
            self.work.note(usage=asdict(stats))


class RecordUsage(_UsageStep):
    """Record the counters noted, once the guest has let go of the volume: they count no further.

    At most once: what the cloud would add twice is worse than a last reading that is missing.
    """

    name = "record_usage"

    def done(self) -> bool:
        LOG.info("The last counters of volume %s may not have been recorded", self._volume_id)
        return True

    def do(self) -> None:
        work, noted = self.work, self.work.notes.get("usage")
        if noted is not None:
            stats = DiskStats(**noted)
            record(
                self.tools, work.context, work.instance, self._volume_id, stats, ended=True
            )
