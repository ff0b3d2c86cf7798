"""Servers that are in a passing state for longer than nova.conf allows: being built, rescued."""

from __future__ import annotations

import datetime
import logging

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.errors import Failure, ServerNotFound, UnexpectedTaskState, Verdict
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.own_requests import OwnRequests
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class OverdueRescues:
    """``timeout`` is [DEFAULT]rescue_timeout, seconds since the rescue."""

    def __init__(self, host: str, timeout: int, instances: Instances, own: OwnRequests) -> None:
        self._host = host
        self._timeout = timeout
        self._instances = instances
        self._own = own

    def tick(self) -> None:
        """Unrescue the servers of this host that are rescued for too long."""
        context = RequestContext.admin()
        for instance in self._instances.by_host(context, self._host, ("system_metadata",)):
            idle = instance.get("task_state") is None and not self._own.busy(str(instance["uuid"]))
            rescued = instance.get("vm_state") == VmState.RESCUED
            if rescued and idle and older(instance.get("launched_at"), self._timeout):
                self._unrescue(context, instance)

    def _unrescue(self, context: RequestContext, instance: WireObject) -> None:
        LOG.warning("Server %s is rescued for more than %d s: unrescuing it",
                    instance["uuid"], self._timeout)  # fmt: skip
        try:
            self._own.ask(
                context,
                instance,
                "unrescue_instance",
                action="unrescue",
                task_state=TaskState.UNRESCUING,
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Server %s is not unrescued: %s", instance["uuid"], error)


class OverdueBuilds:
    """``timeout`` is [DEFAULT]instance_build_timeout, seconds since the server was asked for."""

    def __init__(
        self, host: str, timeout: int, instances: Instances, actions: Actions, own: OwnRequests
    ) -> None:
        self._host = host
        self._timeout = timeout
        self._instances = instances
        self._actions = actions
        self._own = own

    def tick(self) -> None:
        """Say of servers that are being built for too long that they are in ERROR.

        A build that still runs here goes on, as in stock, and may yet make its server ACTIVE.
        """
        context = RequestContext.admin()
        for instance in self._instances.by_host(context, self._host, ()):
            building = instance.get("vm_state") == VmState.BUILDING
            if building and older(instance.get("created_at"), self._timeout):
                self._give_up(context, instance)

    def _give_up(self, context: RequestContext, instance: WireObject) -> None:
        uuid = str(instance["uuid"])
        message = f"The server was not built within {self._timeout} s (instance_build_timeout)"
        LOG.warning("Server %s: %s", uuid, message)
        failure = Failure("BuildAbortException", message, 500, Verdict.ABORT.value, True, "")
        fields = {} if self._own.busy(uuid) else {"task_state": None}
        try:
            self._instances.save(
                context,
                instance,
                expected_task_state=[instance.get("task_state")],
                vm_state=VmState.ERROR,
                **fields,
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Server %s is left as it is: %s", uuid, error)
            return
        self._actions.fault(context, uuid, failure)


def older(moment: str | None, seconds: int) -> bool:
    """Whether a time as it travels on the wire is more than ``seconds`` ago."""
    if not moment:
        return False
    then = datetime.datetime.fromisoformat(moment)
    return datetime.datetime.now(datetime.UTC) - then > datetime.timedelta(seconds=seconds)
