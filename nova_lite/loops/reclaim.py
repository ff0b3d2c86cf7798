"""Soft-deleted servers whose time is over are deleted for good."""

from __future__ import annotations

import logging

from nova_lite.conductor.instances import Instances
from nova_lite.conductor.records import BlockDevices
from nova_lite.engine.own_requests import OwnRequests
from nova_lite.errors import ServerNotFound, UnexpectedTaskState
from nova_lite.loops.overdue import older
from nova_lite.model.states import TaskState, VmState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# What a delete reads of a server.
FOR_DELETE = ("flavor", "info_cache", "metadata", "system_metadata")


class Reclaim:
    """``kept`` is [DEFAULT]reclaim_instance_interval: how long, in seconds, a server is kept."""

    def __init__(
        self,
        host: str,
        kept: int,
        instances: Instances,
        block_devices: BlockDevices,
        own: OwnRequests,
    ) -> None:
        self._host = host
        self._kept = kept
        self._instances = instances
        self._block_devices = block_devices
        self._own = own

    def tick(self) -> None:
        """Delete all servers of this host that were soft-deleted long enough ago."""
        context = RequestContext.admin()
        wanted = {"vm_state": VmState.SOFT_DELETED, "task_state": None, "host": self._host}
        for instance in self._instances.by_filters(context, wanted, FOR_DELETE):
            deleted_at = instance.get("deleted_at")
            if not deleted_at or older(deleted_at, self._kept):
                self._delete(context, instance)

    def _delete(self, context: RequestContext, instance: WireObject) -> None:
        uuid = str(instance["uuid"])
        LOG.info("Server %s was soft-deleted more than %d s ago: deleting it", uuid, self._kept)
        try:
            self._own.ask(
                RequestContext.admin(),  # a request of its own: its id is the action's
                instance,
                "terminate_instance",
                action="delete",
                task_state=TaskState.DELETING,
                bdms=self._block_devices.list_of_server(context, uuid),
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Server %s is not deleted now: %s", uuid, error)
