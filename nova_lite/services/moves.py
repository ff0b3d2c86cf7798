"""A server that moves to another host, or gets another flavor on its own: what its records say.

Of resize and cold migration: the messages of the two hosts to each other, and of nova-conductor to
them, carry the server and its migration as they were when they were sent. The save that a host
begins with is a compare-and-swap, so a message that comes a second time has no effect. One that
comes late is compared with the records first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import (
    ControlPlaneUnavailable,
    MoveSuperseded,
    NovaLiteError,
    ResizeError,
    ServerBeingDeleted,
    ServerNotFound,
)
from nova_lite.inventory.claims import Role
from nova_lite.model.server import Flavor
from nova_lite.model.states import REBUILDING_TASKS, TaskState, VmState
from nova_lite.services import guest
from nova_lite.services.notes import GuestNotes
from nova_lite.services.toolbox import Toolbox
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

# Seconds after which a request is old: somebody may have done something else since.
OLD_S = 30.0
DELETING = (TaskState.DELETING, TaskState.SOFT_DELETING)
# In system_metadata, as stock keeps it: what a server was before its move.
OLD_VM_STATE = "old_vm_state"
_LEFT = (TaskState.RESIZE_MIGRATED, TaskState.RESIZE_FINISH)
_BEGUN = (TaskState.RESIZE_MIGRATING, *_LEFT)
_FLAVORS = ("flavor", "old_flavor", "new_flavor")


def migration(work: Work) -> WireObject:
    """The record of the move, as the request has it."""
    found: WireObject = work.arguments["migration"]
    return found


def is_late(work: Work) -> bool:
    """Whether the records may have changed since the request was sent."""
    return work.resumed or work.context.age > OLD_S


def reload(work: Work) -> None:
    """Read the server's record again.

    :raises ServerBeingDeleted: the server is not wanted any more
    :raises ServerNotFound: it is gone
    """
    work.reload()
    if work.instance.get("task_state") in DELETING:
        raise ServerBeingDeleted(f"Server {work.uuid} is being deleted")


def is_current(work: Work, record: WireObject) -> bool:
    """Whether a migration is the one of the server that is not over."""
    found = work.tools.migrations.open_of_server(work.context.elevated(), work.uuid)
    return found is not None and found["uuid"] == record["uuid"]


def require_current(work: Work) -> None:
    """See that nobody has ended this move, or begun another one.

    :raises MoveSuperseded: somebody has
    """
    record = migration(work)
    if not is_current(work, record):
        raise MoveSuperseded(
            f"Migration {record['uuid']} of server {work.uuid} is over, or another one has begun"
        )


def is_wanted(work: Work) -> bool:
    """Whether the server is there and is not being deleted, by a fresh look at its record."""
    try:
        work.reload()
    except ServerNotFound:
        return False
    return work.instance.get("task_state") not in DELETING


def is_taken_over(work: Work) -> bool:
    """Whether another host has the server or is about to, by a fresh look at its record: an
    evacuation from this host, which was believed to be down."""
    try:
        work.reload()
    except ServerNotFound:
        return False
    return not work.here or _is_being_taken(work)


def _is_being_taken(work: Work) -> bool:
    return work.instance.get("task_state") in REBUILDING_TASKS


def is_to_stay(work: Work) -> bool:
    """Whether the server is wanted, and on this host, by a fresh look at its record."""
    return is_wanted(work) and work.here and not _is_being_taken(work)


def require_begun(work: Work) -> None:
    """See that this move still goes on, before more of it is done.

    :raises MoveSuperseded: somebody has ended it, or taken over the server
    :raises ServerBeingDeleted, ServerNotFound: the server is not wanted any more
    """
    if not has_begun(work):
        raise MoveSuperseded(
            f"Migration {migration(work)['uuid']} of server {work.uuid} does not go on any more"
        )


def is_under_way(work: Work, record: WireObject) -> bool:
    """Whether the host that had the server has begun to move it, by the record as last read."""
    instance = work.instance
    moved = instance.get("vm_state") == VmState.RESIZED
    begun = instance.get("task_state") in _BEGUN or moved
    return begun and context_is_of(work, record)


def has_begun(work: Work) -> bool:
    """As :func:`is_under_way` of the request's move, by a fresh look at the record.

    :raises ServerBeingDeleted, ServerNotFound: the server is not wanted any more
    """
    reload(work)
    return is_under_way(work, migration(work))


def has_left(work: Work) -> bool:
    """Whether the other host has the server, by the record as last read."""
    instance = work.instance
    left = instance.get("task_state") in _LEFT or instance.get("vm_state") == VmState.RESIZED
    return left and context_is_of(work, migration(work))


def refuse_shrinking(work: Work, flavor: Flavor) -> None:
    """Refuse a flavor with smaller disks: nobody knows what is at their ends.

    An ephemeral disk with a block device mapping has the size of that, whatever flavor comes: it
    neither grows, nor is it an obstacle where it is smaller than its flavor says, as in stock.

    :param flavor: the one that the server is to have
    :raises ResizeError: as in stock
    """
    old = work.server.flavor
    if work.server.image.id is not None and flavor.root_gb < old.root_gb:
        raise ResizeError(
            f"Unable to resize disk down. The root disk has {old.root_gb} GiB, that of flavor "
            f"{flavor.name} {flavor.root_gb}"
        )
    ephemeral_gb = old.ephemeral_gb
    if flavor.ephemeral_gb < ephemeral_gb:
        ephemeral_gb = _mapped_ephemeral_gb(work) or ephemeral_gb
    if flavor.ephemeral_gb < ephemeral_gb:
        raise ResizeError(
            f"Unable to resize disk down. The ephemeral disks have {ephemeral_gb} GiB, those of "
            f"flavor {flavor.name} {flavor.ephemeral_gb}"
        )


def _mapped_ephemeral_gb(work: Work) -> int:
    """GiB of the ephemeral disks that have a mapping."""
    return sum(
        device.size_gb or 0
        for device in guest.block_devices(work)
        if device.source_type == "blank" and device.destination_type == "local"
        and device.guest_format != "swap"
    )  # fmt: skip


def stays_here(work: Work) -> bool:
    """Whether this host is both ends of the move: a resize without a move."""
    record, here = migration(work), work.tools.host
    return bool(record.get("source_compute") == here and record.get("dest_compute") == here)


def comes_here(work: Work) -> bool:
    """Whether this host is the one that the move leads to.

    The record of the server does not tell: in a resize to another cell the database of each cell
    has one, and that of the old cell names the old host all the time, with the task states of a
    server that has left (``FinishResizeAtDestTask`` of nova/conductor/tasks/cross_cell_migrate.py).
    """
    return bool(migration(work).get("dest_compute") == work.tools.host)


def ran_before(work: Work) -> bool:
    """Whether the guest is to run at the end of the move, by what the record keeps for that."""
    kept = work.instance.get("system_metadata", {}).get(OLD_VM_STATE, VmState.ACTIVE)
    return bool(kept != VmState.STOPPED)


def flavors(work: Work, **changed: WireObject | None) -> dict[str, Any]:
    """The three flavors of the record, some of them changed, as fields to save.

    nova-conductor writes them in one column, and would read those that a save lacks from there,
    over those that it has.
    """
    found: Mapping[str, Any] = {name: work.instance.get(name) for name in _FLAVORS}
    return {**found, **changed}


def sizes(flavor: WireObject) -> dict[str, Any]:
    """What the record says of a flavor beside the flavor itself."""
    return {
        "instance_type_id": flavor.get("id"),
        "memory_mb": flavor["memory_mb"],
        "vcpus": flavor["vcpus"],
        "root_gb": flavor["root_gb"],
        "ephemeral_gb": flavor.get("ephemeral_gb", 0),
    }


def forgotten(work: Work) -> dict[str, Any]:
    """Fields to save for a server whose move is not carried out."""
    fields: dict[str, Any] = {"migration_context": None}
    if work.instance.get("new_flavor") is not None:
        fields.update(flavors(work, new_flavor=None))
    return fields


def inbound_address(tools: Toolbox) -> str:
    """Where other hosts send the disks of servers that move here while they are off.

    ``get_host_ip_addr`` of nova's libvirt driver, which puts the hypervisor's host name for %s.
    """
    return str(tools.conf.libvirt.migration_inbound_addr).replace("%s", tools.node)


def record_target(work: Work, record: WireObject) -> None:
    """Save this host as the one that a migration goes to."""
    tools = work.tools
    tools.migrations.save(
        work.context,
        record,
        status="pre-migrating",
        dest_compute=tools.host,
        dest_node=tools.node,
        dest_compute_id=tools.node_id,
        dest_host=inbound_address(tools),
    )


def drop_allocation(work: Work, record: WireObject | None = None) -> None:
    """Give back what the migration holds in Placement; the rest does not depend on it.

    :param record: default: the request's
    """
    consumer = str((record or migration(work))["uuid"])
    try:
        work.tools.placement.delete_allocations(consumer)
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.error("Migration %s of server %s still holds something in Placement; "
                  "'nova-manage placement audit' finds it: %s",
                  consumer, work.uuid, error)  # fmt: skip


def release_claim(work: Work, record: WireObject | None = None) -> None:
    """Release what the host that was to get the server has claimed for it; called by the host that
    has it. A host that does not answer looks at the records itself when it starts again.

    :param record: of the migration; default: the request's
    """
    target = str((record or migration(work))["dest_compute"])
    if target == work.tools.host:
        work.tools.claims.release(work.uuid, Role.INCOMING)
        return
    try:
        work.tools.peers.call(
            work.context, target, "drop_move_claim_at_destination", instance=work.instance
        )
    except NovaLiteError as error:
        LOG.info("Host %s was not told that server %s does not come: %s",
                 target, work.uuid, error)  # fmt: skip


def context_of(work: Work, record: WireObject) -> WireObject:
    """The MigrationContext: NUMA placements on both hosts, and no devices.

    As long as it is there, nova-api sends events of the server's ports to both hosts. A revert
    needs the place that the server has had, which requests of nova-api come without.
    """
    instance, placed = work.instance, GuestNotes.of(work.notes).numa_topology
    if "numa_topology" not in instance:
        instance = work.tools.instances.get(work.context, work.uuid)
    requests = instance.get("pci_requests") or _made("InstancePCIRequests", requests=[])
    requests.data.setdefault("instance_uuid", work.uuid)
    return _made(
        "MigrationContext",
        instance_uuid=work.uuid,
        migration_id=record["id"],
        old_numa_topology=instance.get("numa_topology"),
        new_numa_topology=placed,
        old_pci_devices=instance.get("pci_devices") or _made("PciDeviceList", objects=[]),
        new_pci_devices=_made("PciDeviceList", objects=[]),
        old_pci_requests=requests,
        new_pci_requests=requests,
        old_resources=None,
        new_resources=None,
    )


def context_is_of(work: Work, record: WireObject) -> bool:
    """Whether the server's MigrationContext belongs to a migration."""
    found = work.instance.get("migration_context")
    return found is not None and found.get("migration_id") == record["id"]


def _made(name: str, **fields: Any) -> WireObject:
    made = WireObject.new(name, VERSIONS[name], **fields)
    made.clear_changes()
    return made
