"""Migration records: what the cloud knows of servers on their way from one host to another."""

from __future__ import annotations

from typing import Any

from nova_lite.conductor.client import Conductor
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

# Evacuations in these statuses leave something behind on their source: the other host is going to
# take the server, is taking it, or has it. ``completed`` is one whose source was cleaned up.
EVACUATED = ("accepted", "pre-migrating", "done")
# Migrations of any type that are not over: one of the hosts has still something to do for them.
OPEN = (
    "accepted", "queued", "preparing", "pre-migrating", "running", "running (post-copy)",
    "migrating", "post-migrating", "finished", "confirming", "reverting",
)  # fmt: skip


class Migrations:
    """What the cloud knows of a server's way from one host to another."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def save(self, context: RequestContext, migration: WireObject, **fields: Any) -> None:
        """Save ``fields`` of a migration."""
        self._conductor.save(context, migration, **fields)

    def reschedule(
        self,
        context: RequestContext,
        instance: WireObject,
        request: dict[str, Any],
        filter_properties: dict[str, Any],
    ) -> None:
        """Cast ``migrate_server``, so that the conductor tries the hosts left in ``host_list``.

        When there is none that can have it, the conductor itself restores the server and its
        allocations.

        :param request: the arguments of ``prep_resize``
        """
        self._conductor.task_cast(
            context,
            "migrate_server",
            "1.20",
            instance=instance,
            scheduler_hint={"filter_properties": filter_properties},
            live=False,
            rebuild=False,
            flavor=request["flavor"],
            block_migration=None,
            disk_over_commit=None,
            reservations=None,
            clean_shutdown=request["clean_shutdown"],
            request_spec=request["request_spec"],
            host_list=request["host_list"],
        )

    def complete(self, context: RequestContext, migration: WireObject) -> None:
        """Record that nothing is left to be done for an evacuation."""
        self.save(context, migration, status="completed")

    def find(self, context: RequestContext, uuid: str) -> WireObject | None:
        """A migration as it is now, also that of a deleted server; None where there is none."""
        everything = context.elevated(read_deleted=True)
        found = self._conductor.class_call(
            everything, "MigrationList.get_by_filters", {"uuid": uuid}
        )
        return next(found.objects(), None)

    def of_server(self, context: RequestContext, server_uuid: str) -> list[WireObject]:
        """All migrations of a server, the oldest first; also those that are over, and those of a
        server that was deleted."""
        everything = context.elevated(read_deleted=True)
        found = self._conductor.class_call(
            everything, "MigrationList.get_by_filters", {"instance_uuid": server_uuid}
        )
        return sorted(found.objects(), key=lambda migration: int(migration["id"]))

    def latest_of_server(self, context: RequestContext, server_uuid: str) -> WireObject | None:
        """The last migration of a server, also one that is over, or whose server was deleted."""
        found = self.of_server(context, server_uuid)
        return found[-1] if found else None

    def unconfirmed(self, context: RequestContext, host: str, age: int) -> list[WireObject]:
        """Moves to a host that were finished more than ``age`` seconds ago, and are not confirmed
        yet."""
        found = self._conductor.class_call(
            context, "MigrationList.get_unconfirmed_by_dest_compute", age, host, use_slave=True
        )
        return list(found.objects())

    def open_of_server(self, context: RequestContext, server_uuid: str) -> WireObject | None:
        """The migration of a server that is not over, the latest if there are several."""
        # get_in_progress_by_instance would leave out what has not begun to move memory.
        filters = {"instance_uuid": server_uuid, "status": list(OPEN)}
        found = self._conductor.class_call(context, "MigrationList.get_by_filters", filters)
        return max(found.objects(), key=lambda migration: int(migration["id"]), default=None)

    def open_of_host(self, context: RequestContext, host: str, node: str) -> list[WireObject]:
        """Migrations to and from a host that are not over, and those in ``error``.

        :param node: the hypervisor's host name
        """
        found = self._conductor.class_call(
            context, "MigrationList.get_in_progress_and_error", host, node
        )
        return list(found.objects())

    def evacuated_from(self, context: RequestContext, host: str) -> list[WireObject]:
        """Evacuations of servers from a host after which it was not cleaned up yet.

        Those of servers that were deleted meanwhile are among them.
        """
        everything = context.elevated(read_deleted=True)
        filters = {
            "source_compute": host,
            "status": list(EVACUATED),
            "migration_type": "evacuation",
        }
        found = self._conductor.class_call(everything, "MigrationList.get_by_filters", filters)
        return list(found.objects())
