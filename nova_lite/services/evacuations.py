"""A server that comes from a host that failed: what its records say of that."""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import EvacuationSuperseded, ServerBeingDeleted, ServerNotFound
from nova_lite.model.states import REBUILDING_TASKS, TaskState
from nova_lite.services.notes import GuestNotes
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

# Seconds after which a request is old: somebody may have done something else since.
OLD_S = 30.0


def migration(work: Work) -> WireObject | None:
    """The record of the evacuation; None where nova-conductor found none."""
    found = work.arguments.get("migration")
    return found if isinstance(found, WireObject) else None


def source(work: Work) -> str | None:
    """The host that had the server."""
    record = migration(work)
    named = record.get("source_compute") if record is not None else work.instance.get("host")
    return str(named) if named and named != work.tools.host else None


def reload(work: Work) -> None:
    """Read the record again; the availability zone is the message's, which is not saved yet.

    :raises ServerBeingDeleted: it is not wanted any more
    :raises EvacuationSuperseded: it is not this host that is to have it any more
    """
    zone = work.instance.get("availability_zone")
    work.reload()
    if work.instance.get("task_state") in (TaskState.DELETING, TaskState.SOFT_DELETING):
        raise ServerBeingDeleted(f"Server {work.uuid} is being deleted")
    if zone and work.instance.get("availability_zone") != zone:
        work.instance.set(availability_zone=zone)
    if not work.here and (work.resumed or work.context.age > OLD_S):
        _require_current(work)


def _require_current(work: Work) -> None:
    """See that nobody has ended this evacuation, or begun another one."""
    record = migration(work)
    if record is None or work.instance.get("task_state") not in REBUILDING_TASKS:
        current = record is None
    else:
        found = work.tools.migrations.open_of_server(work.context.elevated(), work.uuid)
        current = found is not None and found["uuid"] == record["uuid"]
    if not current:
        raise EvacuationSuperseded(
            f"The evacuation of server {work.uuid} to host {work.tools.host} is over, or another "
            "one has begun; evacuate it again if its host is down"
        )


def is_wanted(work: Work) -> bool:
    """Whether the server is there and is not being deleted, by a fresh look at its record."""
    try:
        work.reload()
    except ServerNotFound:
        return False
    return work.instance.get("task_state") not in (TaskState.DELETING, TaskState.SOFT_DELETING)


def context_of(work: Work, record: WireObject) -> WireObject:
    """The MigrationContext: NUMA placements on both hosts, and no devices."""
    instance, placed = work.instance, GuestNotes.of(work.notes).numa_topology
    requests = instance.get("pci_requests") or _empty("InstancePCIRequests", requests=[])
    requests.data.setdefault("instance_uuid", work.uuid)
    return _empty(
        "MigrationContext",
        instance_uuid=work.uuid,
        migration_id=record["id"],
        old_numa_topology=instance.get("numa_topology"),
        new_numa_topology=placed,
        old_pci_devices=instance.get("pci_devices") or _empty("PciDeviceList", objects=[]),
        new_pci_devices=_empty("PciDeviceList", objects=[]),
        old_pci_requests=requests,
        new_pci_requests=requests,
        old_resources=None,
        new_resources=None,
    )


def _empty(name: str, **fields: Any) -> WireObject:
    made = WireObject.new(name, VERSIONS[name], **fields)
    made.clear_changes()
    return made
