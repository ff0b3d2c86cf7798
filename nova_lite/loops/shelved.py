"""Servers that are shelved for so long that they leave their host."""

from __future__ import annotations

import logging

from nova_lite.conductor.instances import Instances
from nova_lite.errors import ServerNotFound, UnexpectedTaskState
from nova_lite.loops.overdue import older
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.own_requests import OwnRequests
from nova_lite.steps.records import SHELVED_AT
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class OverdueShelved:
    """``timeout`` is [DEFAULT]shelved_offload_time, seconds since the server was shelved."""

    def __init__(self, host: str, timeout: int, instances: Instances, own: OwnRequests) -> None:
        self._host = host
        self._timeout = timeout
        self._instances = instances
        self._own = own

    def tick(self) -> None:
        """Offload the servers of this host that are shelved for long enough."""
        context = RequestContext.admin()
        for instance in self._instances.by_host(context, self._host, ("system_metadata",)):
            idle = instance.get("task_state") is None and not self._own.busy(str(instance["uuid"]))
            shelved = instance.get("vm_state") == VmState.SHELVED
            since = instance.get("system_metadata", {}).get(SHELVED_AT)
            # It is written without a time zone, as stock does it.
            if shelved and idle and since and older(f"{since}+00:00", self._timeout):
                self._offload(context, instance)

    def _offload(self, context: RequestContext, instance: WireObject) -> None:
        LOG.info("Server %s is shelved for more than %d s: offloading it",
                 instance["uuid"], self._timeout)  # fmt: skip
        try:
            self._own.ask(
                context,
                instance,
                "shelve_offload_instance",
                action="shelveOffload",
                task_state=TaskState.SHELVING_OFFLOADING,
                clean_shutdown=False,
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Server %s is not offloaded: %s", instance["uuid"], error)
