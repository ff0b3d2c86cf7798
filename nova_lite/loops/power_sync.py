"""Power states: what the hypervisor says against what the cloud believes.

Life-cycle events start it at once for one server; a slow poll over all is the safety net.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from nova_lite.conductor.instances import Instances
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound, ServerNotFound
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.operations.own_requests import OwnRequests
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

OFF = (PowerState.SHUTDOWN, PowerState.CRASHED)
# Seconds between an event and the look at the guest: one that restarts itself is not off.
SETTLE = 2.0


class PowerSync:
    """``later`` runs something after some seconds, ``stray`` is told of guests without server."""

    def __init__(
        self,
        host: str,
        hypervisor: Hypervisor,
        instances: Instances,
        own: OwnRequests,
        later: Callable[[float, Callable[[], None]], Any],
        stray: Callable[[str], None],
    ) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._instances = instances
        self._own = own
        self._later = later
        self._stray = stray

    def on_event(self, event: DomainEvent) -> None:
        """Called by the hypervisor driver's event thread; must not block."""
        if self._own.busy(event.uuid):
            return  # our own doing, and the operation reports it
        LOG.info("Lifecycle event: guest of server %s %s %s", event.uuid, event.kind, event.detail)
        self._later(SETTLE, lambda: self.check_uuid(event.uuid))

    def tick(self) -> None:
        """Compare all servers of this host."""
        context = RequestContext.admin()
        states = {domain.uuid: domain.power_state for domain in self._hypervisor.domains()}
        for instance in self._instances.by_host(context, self._host, ()):
            uuid = str(instance["uuid"])
            state = states.pop(uuid, None)
            if not self._own.busy(uuid):
                self._compare(context, instance, state)
        for uuid in states:
            self._stray(uuid)

    def check_uuid(self, uuid: str) -> None:
        """Compare one server."""
        context = RequestContext.admin()
        if self._own.busy(uuid):
            return
        try:
            state = self._hypervisor.power_state(uuid)
        except DomainNotFound:
            return
        try:
            instance = self._instances.get(context, uuid, ())
        except ServerNotFound:
            LOG.info("Guest %s is not a server of this cloud; left alone", uuid)
            return
        if instance.get("host") == self._host:
            self._compare(context, instance, state)

    def _compare(
        self, context: RequestContext, instance: WireObject, state: PowerState | None
    ) -> None:
        if instance.get("task_state") is not None:
            return
        uuid, vm_state = str(instance["uuid"]), instance.get("vm_state")
        actual = PowerState.NOSTATE if state is None else state
        if vm_state == VmState.ACTIVE and actual in OFF:
            LOG.warning("Guest of server %s is off (%s) though the server is active; stopping it",
                        uuid, actual.name.lower())  # fmt: skip
            self._stop(context, instance)
        elif vm_state == VmState.STOPPED and actual == PowerState.RUNNING:
            LOG.warning("Guest of server %s runs though the server is stopped; stopping it", uuid)
            self._stop(context, instance)
        elif instance.get("power_state") != int(actual):
            self._instances.save(
                context, instance, expected_task_state=[None], power_state=int(actual)
            )

    def _stop(self, context: RequestContext, instance: WireObject) -> None:
        self._own.ask(
            context,
            instance,
            "stop_instance",
            action="stop",
            task_state=TaskState.POWERING_OFF,
            clean_shutdown=False,
        )
