"""What moves that are not over claim of this host, from migration and instance records.

As stock accounts for them (``_update_usage_from_migrations`` of nova/compute/resource_tracker.py):
a server that comes here claims what it will use, one that went claims what it had until its move is
confirmed, and one that is resized on this host does both in turn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from nova_lite.conductor.instances import FOR_MOVE, Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.inventory.claims import Claim, Role, claim_of
from nova_lite.model.states import REBUILDING_TASKS, TaskState, VmState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

DATA = "nova_object.data"
# vm_state -> task states in which a server is in the middle of a move; None: in any.
_RESIZING = (
    TaskState.RESIZE_PREP,
    TaskState.RESIZE_MIGRATING,
    TaskState.RESIZE_MIGRATED,
    TaskState.RESIZE_FINISH,
    *REBUILDING_TASKS,
)
MOVING: Mapping[str, tuple[str, ...] | None] = {
    VmState.RESIZED: None,
    VmState.ACTIVE: (*_RESIZING, TaskState.MIGRATING),
    VmState.STOPPED: _RESIZING,
    VmState.PAUSED: (TaskState.MIGRATING,),
}


def open_moves(
    instances: Instances, migrations: Migrations, host: str, node: str
) -> dict[tuple[str, Role], Claim]:
    """What servers that move claim of this host.

    One conductor call, two when there are any: MigrationList.get_in_progress_and_error and
    InstanceList.get_by_filters. The latter is asked once more for servers that are hidden, as the
    record of one cell is while a server moves between two: it leaves them out otherwise.

    :param host: nova.conf's host of this agent
    :param node: the hypervisor's host name
    """
    context = RequestContext.admin()
    found = migrations.open_of_host(context, host, node)
    if not found:
        return {}
    uuids = sorted({str(migration["instance_uuid"]) for migration in found})
    filters = {"uuid": uuids, "deleted": False}
    servers = instances.by_filters(context, filters, FOR_MOVE)
    missing = sorted(set(uuids) - {str(instance["uuid"]) for instance in servers})
    if missing:
        servers += instances.by_filters(
            context, {**filters, "uuid": missing, "hidden": True}, FOR_MOVE
        )
    return claims_of_moves(found, servers, host)


def claims_of_moves(
    migrations: Iterable[WireObject], instances: Iterable[WireObject], host: str
) -> dict[tuple[str, Role], Claim]:
    """The claims of open migrations to and from this host.

    A record that cannot be read, or that belongs to another migration by now, is logged and left
    out, so that it cannot keep the host down.

    :param migrations: as MigrationList.get_in_progress_and_error returns them
    :param instances: their servers, with ``flavor`` and ``migration_context``
    :param host: nova.conf's host of this agent
    """
    servers = {str(instance["uuid"]): instance.data for instance in instances}
    latest: dict[str, WireObject] = {}
    for migration in sorted(migrations, key=lambda migration: int(migration["id"])):
        latest[str(migration["instance_uuid"])] = migration
    claims: dict[tuple[str, Role], Claim] = {}
    for uuid, migration in latest.items():
        fields = servers.get(uuid)
        if fields is None or not _moves(fields):
            continue
        try:
            claims.update(_claims(uuid, migration, fields, host))
        except (KeyError, TypeError) as error:
            LOG.error("The move of server %s is not accounted for: its record lacks %s",
                      uuid, error)  # fmt: skip
    return claims


def _moves(fields: Mapping[str, Any]) -> bool:
    tasks = MOVING.get(str(fields.get("vm_state")), ())
    return tasks is None or fields.get("task_state") in tasks


def _claims(
    uuid: str, migration: WireObject, fields: Mapping[str, Any], host: str
) -> dict[tuple[str, Role], Claim]:
    context = (fields.get("migration_context") or {}).get(DATA)
    if context is not None and context.get("migration_id") != migration["id"]:
        LOG.warning("Migration %s of server %s is not the one that its record is about",
                    migration["id"], uuid)  # fmt: skip
        return {}
    topologies = context or {}

    def new() -> Claim:
        flavor = "new_flavor" if fields.get("new_flavor") else "flavor"
        return _claim(fields, flavor, topologies.get("new_numa_topology"))

    def old() -> Claim:
        flavor = "old_flavor" if fields.get("old_flavor") else "flavor"
        return _claim(fields, flavor, topologies.get("old_numa_topology"))

    comes, goes = migration.get("dest_compute") == host, migration.get("source_compute") == host
    here = fields.get("host") == host
    has_new = fields.get("instance_type_id") != migration.get("old_instance_type_id")
    if comes and goes:
        return {(uuid, Role.OUTGOING): old()} if has_new else {(uuid, Role.INCOMING): new()}
    if comes and not here:
        return {(uuid, Role.INCOMING): new()}
    if comes and fields.get("task_state") == TaskState.RESIZE_MIGRATED:
        # Its record names this host already, and still describes what it had on the other one.
        return {(uuid, Role.CURRENT): new()}
    if goes and not here:
        return {(uuid, Role.OUTGOING): old()}
    return {}


def _claim(fields: Mapping[str, Any], flavor: str, numa: Any) -> Claim:
    if flavor == "flavor":  # a move without another flavor
        fields = {**fields, "numa_topology": numa}
    return claim_of(fields, flavor, numa)
