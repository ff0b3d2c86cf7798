"""Servers that are being built for longer than nova.conf allows."""

from __future__ import annotations

import logging

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.engine.own_requests import OwnRequests
from nova_lite.errors import ServerNotFound, UnexpectedTaskState, Verdict
from nova_lite.failures import Failure
from nova_lite.loops.overdue import older
from nova_lite.model.states import VmState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


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
        """Set servers that are being built for too long to ERROR.

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
        failure = Failure("BuildAbortException", message, 500, Verdict.ABORT, True, "")
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
