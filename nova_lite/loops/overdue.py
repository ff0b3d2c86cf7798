"""Servers that are in a temporary state for longer than nova.conf allows.

This host then begins the operation that ends the state.
"""

from __future__ import annotations

import datetime
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from nova_lite.conductor.instances import Instances
from nova_lite.engine.own_requests import OwnRequests
from nova_lite.errors import ServerNotFound, UnexpectedTaskState
from nova_lite.model.states import SHELVED_AT, TaskState, VmState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class OverdueServers(ABC):
    """The servers of this host in one such state.

    ``state`` names it for the log. ``method``, ``action``, ``task_state`` and ``arguments`` are
    what is asked for, ``attributes`` what is to be read of a server beside its own fields.
    """

    state: ClassVar[str]
    method: ClassVar[str]
    action: ClassVar[str]
    task_state: ClassVar[TaskState]
    arguments: ClassVar[Mapping[str, Any]] = {}
    attributes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, host: str, timeout: int, instances: Instances, own: OwnRequests) -> None:
        """:param timeout: seconds that a server may be in the state"""
        self._host = host
        self._timeout = timeout
        self._instances = instances
        self._own = own

    @abstractmethod
    def since(self, instance: WireObject) -> str | None:
        """Since when the server is in the state, as it travels on the wire; None: it is not."""

    def tick(self) -> None:
        """Begin the operation for overdue servers, unless this host is at work on them."""
        context = RequestContext.admin()
        for instance in self._instances.by_host(context, self._host, self.attributes):
            overdue = older(self.since(instance), self._timeout)
            if overdue and not self._own.busy(str(instance["uuid"])):
                self._end(context, instance)

    def _end(self, context: RequestContext, instance: WireObject) -> None:
        LOG.warning("Server %s is %s for more than %d s: asking for %s",
                    instance["uuid"], self.state, self._timeout, self.action)  # fmt: skip
        try:
            self._own.ask(
                context,
                instance,
                self.method,
                action=self.action,
                task_state=self.task_state,
                expected_task_state=[instance.get("task_state")],
                **self.arguments,
            )
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("No %s of server %s: %s", self.action, instance["uuid"], error)


class OverdueRescues(OverdueServers):
    """[DEFAULT]rescue_timeout, counted from the rescue."""

    state = "rescued"
    method, action, task_state = "unrescue_instance", "unrescue", TaskState.UNRESCUING
    attributes = ("system_metadata",)

    def since(self, instance: WireObject) -> str | None:
        return instance.get("launched_at") if _is(instance, VmState.RESCUED) else None


class OverdueShelved(OverdueServers):
    """[DEFAULT]shelved_offload_time, counted from the shelving."""

    state = "shelved"
    method, action = "shelve_offload_instance", "shelveOffload"
    task_state = TaskState.SHELVING_OFFLOADING
    arguments = {"clean_shutdown": False}
    attributes = ("system_metadata",)

    def since(self, instance: WireObject) -> str | None:
        shelved_at = instance.get("system_metadata", {}).get(SHELVED_AT)
        # It is written without a time zone, as stock does it.
        return f"{shelved_at}+00:00" if shelved_at and _is(instance, VmState.SHELVED) else None


class OverdueReboots(OverdueServers):
    """[DEFAULT]reboot_timeout, counted from the last change of the record; of soft reboots that
    nobody is at work on any more, for one that runs turns into a hard one by itself."""

    SOFT = (TaskState.REBOOTING, TaskState.REBOOT_PENDING, TaskState.REBOOT_STARTED)

    state = "rebooting"
    method, action, task_state = "reboot_instance", "reboot", TaskState.REBOOTING_HARD
    arguments = {"reboot_type": "HARD", "block_device_info": None}

    def since(self, instance: WireObject) -> str | None:
        return instance.get("updated_at") if instance.get("task_state") in self.SOFT else None


def _is(instance: WireObject, vm_state: VmState) -> bool:
    """Whether the server is in a state, and nothing is being done with it."""
    return instance.get("vm_state") == vm_state and instance.get("task_state") is None


def older(moment: str | None, seconds: int) -> bool:
    """Whether a time as it travels on the wire is more than ``seconds`` ago."""
    if not moment:
        return False
    then = datetime.datetime.fromisoformat(moment)
    return datetime.datetime.now(datetime.UTC) - then > datetime.timedelta(seconds=seconds)
