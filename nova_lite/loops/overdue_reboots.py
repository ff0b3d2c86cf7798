"""Soft reboots that take longer than nova.conf allows and that nobody is at work on any more."""

from __future__ import annotations

import logging

from nova_lite.conductor.instances import Instances
from nova_lite.errors import ServerNotFound, UnexpectedTaskState
from nova_lite.loops.overdue import older
from nova_lite.model.states import TaskState
from nova_lite.operations.own_requests import OwnRequests
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

SOFT_REBOOTS = (TaskState.REBOOTING, TaskState.REBOOT_PENDING, TaskState.REBOOT_STARTED)


class OverdueReboots:
    """``timeout`` is [DEFAULT]reboot_timeout, seconds since the last change of the record."""

    def __init__(self, host: str, timeout: int, instances: Instances, own: OwnRequests) -> None:
        self._host = host
        self._timeout = timeout
        self._instances = instances
        self._own = own

    def tick(self) -> None:
        """Reboot the servers of this host hard that are rebooting for too long."""
        context = RequestContext.admin()
        for instance in self._instances.by_host(context, self._host, ()):
            rebooting = instance.get("task_state") in SOFT_REBOOTS
            if not rebooting or self._own.busy(str(instance["uuid"])):
                continue  # a reboot that runs here turns into a hard one by itself
            if older(instance.get("updated_at"), self._timeout):
                self._reboot(context, instance)

    def _reboot(self, context: RequestContext, instance: WireObject) -> None:
        LOG.warning("Server %s is rebooting for more than %d s: rebooting it hard",
                    instance["uuid"], self._timeout)  # fmt: skip
        try:
            self._own.ask(
                context,
                instance,
                "reboot_instance",
                action="reboot",
                task_state=TaskState.REBOOTING_HARD,
                expected_task_state=[instance["task_state"]],
                reboot_type="HARD",
                block_device_info=None,
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Server %s is not rebooted: %s", instance["uuid"], error)
