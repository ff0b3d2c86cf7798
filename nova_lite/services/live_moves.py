"""A server that moves to another host while it runs, as the host that has it sees that.

What the other host has told travels in the request; what it adds when it prepares itself is noted
without its secrets, which the block device mappings have, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from nova_lite.conductor.services import ComputeNodes
from nova_lite.guest.disks import PlannedDisk
from nova_lite.model.network import Vif
from nova_lite.model.states import TaskState
from nova_lite.services import guest, migrate_data, moves
from nova_lite.services.disk_files import directory
from nova_lite.services.notes import LiveNotes
from nova_lite.services.ownership import Place, place
from nova_lite.services.work import Work
from nova_lite.wire import confidential
from nova_lite.wire.objects import WireObject, wrap

GIB = 1024**3
TAPS_BEFORE = 71  # service version; 2026.1 reports 72
LEAST_GIB = 2.0  # of memory, and of each disk: for steps and limits that are per GiB


def target(work: Work) -> str:
    """The host that is to get the server."""
    return str(work.arguments["dest"])


def data(work: Work) -> WireObject:
    """What both hosts know of the move, as last told.

    :raises MalformedMessage: it is of another hypervisor
    """
    noted = LiveNotes.of(work.notes).live_data
    found = wrap(json.loads(noted)) if noted else work.arguments["migrate_data"]
    return migrate_data.read(found)


def keep(work: Work, told: WireObject) -> None:
    """Note what the other host has told when it was ready."""
    work.note(live_data=json.dumps(confidential.without(told.primitive)))


def target_vifs(work: Work, told: WireObject, other: str) -> list[Vif]:
    """The ports as the host that gets the server is to plug them: with taps that are made before
    the guest comes only where this host and ``other`` know of them. In the definition that travels
    stands whether libvirt is to make them.

    :raises PeerUnavailable: there is no such host
    """
    taps = taps_before(work, other)
    return migrate_data.target_vifs(told, guest.vifs(work), taps=taps)


def taps_before(work: Work, other: str) -> bool:
    """Whether this host and ``other`` know of taps that are made before the guest comes; nova does
    since 2026.1.

    :raises PeerUnavailable: there is no such host
    """
    return all(
        work.tools.peers.reports(work.context, host, TAPS_BEFORE)
        for host in (work.tools.host, other)
    )


def is_prepared(work: Work) -> bool:
    """Whether the other host has said that it is ready."""
    return LiveNotes.of(work.notes).live_data is not None


def is_there(work: Work) -> bool:
    """Whether the record, as last read, names the other host."""
    return place(work.instance, target(work)) is Place.HERE


def is_asked(work: Work) -> bool:
    """Whether the record, as last read, says that the server is this host's and is to move."""
    return work.here and work.instance.get("task_state") == TaskState.MIGRATING


def copied_disks(work: Work) -> list[PlannedDisk]:
    """The disks that are copied while the guest writes to them: those of this host alone.

    As ``_live_migration_copy_disk_paths`` of stock's libvirt driver: what cannot be written (a
    config drive as CD-ROM) is copied before.
    """
    if not migrate_data.copies_disks(data(work)):
        return []
    return [disk for disk in guest.disk_plan(work).local if disk.kind == "disk"]


def gib(work: Work, disks: Iterable[PlannedDisk]) -> float:
    """How much is sent at least, in GiB: steps and time limits are by that, as in stock."""
    memory = work.server.flavor.memory_mb / 1024
    sizes = (_size(work, str(disk.name)) / GIB for disk in disks)
    return max(memory, LEAST_GIB) + sum(max(size, LEAST_GIB) for size in sizes)


def disk_bytes(work: Work) -> int:
    """How much of disks is to be copied, at most."""
    return sum(_size(work, str(disk.name)) for disk in copied_disks(work))


def _size(work: Work, name: str) -> int:
    try:
        return (directory(work) / name).stat().st_size
    except OSError:
        return 0


def record_there(work: Work, nodes: ComputeNodes) -> dict[str, Any]:
    """Fields to save that make the server the other host's, when that cannot do so itself: as it
    would save them.

    :raises ControlPlaneUnavailable: the conductor is away
    """
    record, name = moves.migration(work), target(work)
    found = nodes.of_host(work.context, name)
    wanted = record.get("dest_node")
    node = next((one for one in found if one["hypervisor_hostname"] == wanted),
                found[0] if found else None)  # fmt: skip
    context = work.instance.get("migration_context")
    fields: dict[str, Any] = {
        "host": name,
        "node": node["hypervisor_hostname"] if node is not None else None,
        "compute_id": node["id"] if node is not None else None,
        "task_state": None,
        "progress": 0,
        "migration_context": None,
    }
    if context is not None and moves.context_is_of(work, record):
        fields["numa_topology"] = context.get("new_numa_topology")
    return fields
