"""Resized servers whose users have not said for [DEFAULT]resize_confirm_window that they want to
keep or to revert that: their new host confirms it.

As stock does, in the name of nobody: what nova-api does for a user is done here. A move between
cells is confirmed by nova-conductor with access to both, which no host can ask for that.
"""

from __future__ import annotations

import logging

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.errors import NovaLiteError, ServerNotFound
from nova_lite.model.states import TaskState, VmState
from nova_lite.peers.client import Peers
from nova_lite.services.ownership import Place, place
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# What nova-api sends of a server.
ATTRIBUTES = ("flavor", "info_cache", "metadata", "system_metadata", "migration_context")
# Its end is being recorded, or it goes away: looked at again later.
BUSY = (TaskState.RESIZE_FINISH, TaskState.DELETING, TaskState.SOFT_DELETING)


class OverdueResizes:
    """``window`` is [DEFAULT]resize_confirm_window, in seconds."""

    def __init__(
        self,
        host: str,
        window: int,
        *,
        instances: Instances,
        migrations: Migrations,
        actions: Actions,
        peers: Peers,
    ) -> None:
        self._host = host
        self._window = window
        self._instances = instances
        self._migrations = migrations
        self._actions = actions
        self._peers = peers

    def tick(self) -> None:
        """Confirm what is overdue; what cannot be confirmed now is tried again the next time."""
        found = self._migrations.unconfirmed(RequestContext.admin(), self._host, self._window)
        for migration in found:
            if migration.get("cross_cell_move"):
                continue  # its other host is in another cell: its user or an operator confirms it
            uuid = str(migration["instance_uuid"])
            try:
                self._look(RequestContext.admin(), uuid, migration)
            except NovaLiteError as error:
                LOG.warning("The resize of server %s is not confirmed yet: %s", uuid, error)

    def _look(self, context: RequestContext, uuid: str, migration: WireObject) -> None:
        try:
            instance = self._instances.get(context, uuid, ATTRIBUTES)
        except ServerNotFound:
            self._give_up(context, migration, "the server is gone")
            return
        vm_state, task = instance.get("vm_state"), instance.get("task_state")
        if task in BUSY or place(instance, self._host) is not Place.HERE:
            return
        if vm_state != VmState.RESIZED or task is not None:
            self._give_up(context, migration, f"the server is {vm_state}, with task {task}")
            return
        self._confirm(context, instance, migration)

    def _confirm(
        self, context: RequestContext, instance: WireObject, migration: WireObject
    ) -> None:
        uuid, source = str(instance["uuid"]), str(migration["source_compute"])
        if not self._peers.is_up(context, source):
            LOG.warning("The resize of server %s is confirmed when host %s is up", uuid, source)
            return
        LOG.info("Server %s was resized more than %d s ago: confirming that", uuid, self._window)
        self._migrations.save(context, migration, status="confirming")
        self._actions.action_start(context, uuid, "confirmResize")
        try:
            self._peers.cast(
                context, source, "confirm_resize", instance=instance, migration=migration
            )
        except NovaLiteError:
            self._migrations.save(context, migration, status="finished")
            raise

    def _give_up(self, context: RequestContext, migration: WireObject, reason: str) -> None:
        """The move cannot be confirmed any more, as stock records it."""
        LOG.warning("Migration %s of server %s is set to error: %s",
                    migration["uuid"], migration["instance_uuid"], reason)  # fmt: skip
        self._migrations.save(context, migration, status="error")
