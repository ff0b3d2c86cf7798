"""Power state sync: compares the guests' power states with the Instance records.

A libvirt lifecycle event checks one server at once; a slow poll checks all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.conductor.instances import Instances
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.engine.own_requests import OwnRequests
from nova_lite.errors import NovaLiteError, ServerNotFound, UnexpectedTaskState
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import POWERED_OFF, PowerState, TaskState, VmState
from nova_lite.services.ownership import Place, place
from nova_lite.services.power_state import power_state
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

ON = (PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED)
# vm_state -> power states in which it cannot stay: the server is stopped then. Of all others only
# the power state is noted; a guest that somebody holds for a while, or that is not found while
# libvirt starts, is nobody's fault.
STOPPED_WHEN: Mapping[str, tuple[PowerState, ...]] = {
    VmState.ACTIVE: (*POWERED_OFF, PowerState.SUSPENDED),
    VmState.PAUSED: POWERED_OFF,
    VmState.STOPPED: ON,
}
# Seconds between an event and the look at the guest: one that restarts itself is not off.
SETTLE = 2.0


class PowerSync:
    """``later`` runs something about a server after some seconds, ``stray`` is told of guests
    without server."""

    def __init__(
        self,
        host: str,
        hypervisor: Hypervisor,
        instances: Instances,
        own: OwnRequests,
        later: Callable[[float, str, Callable[[], None]], Any],
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
        if event.of_migration:
            return  # nobody switched it off or on; if the record is wrong, the slow poll finds out
        LOG.info("Lifecycle event: guest of server %s %s %s", event.uuid, event.kind, event.detail)
        self._later(SETTLE, event.uuid, lambda: self.check_uuid(event.uuid))

    def tick(self) -> None:
        """Compare all servers of this host."""
        context = RequestContext.admin()
        states = {domain.uuid: domain.power_state for domain in self._hypervisor.domains()}
        for instance in self._instances.by_host(context, self._host, ()):
            uuid = str(instance["uuid"])
            state = states.pop(uuid, PowerState.NOSTATE)
            if not _agree(instance, state):
                self.check_uuid(uuid)  # both were read some time ago
        for uuid in states:
            self._stray(uuid)

    def check_uuid(self, uuid: str) -> None:
        """Compare one server; one that somebody else is faster with is theirs."""
        try:
            self._check(RequestContext.admin(), uuid)
        except (ServerNotFound, UnexpectedTaskState) as error:
            LOG.info("Guest %s is left alone: %s", uuid, error)
        except NovaLiteError as error:
            LOG.warning("Could not compare the power state of server %s: %s", uuid, error)

    def _check(self, context: RequestContext, uuid: str) -> None:
        if self._own.busy(uuid):
            return
        # The record first: a start that ends in between makes both agree, not disagree.
        instance = self._instances.get(context, uuid, ())
        if place(instance, self._host) is not Place.HERE:
            return
        state = power_state(self._hypervisor, uuid)
        if not (self._own.busy(uuid) or _agree(instance, state)):
            self._settle(context, instance, state)

    def _settle(self, context: RequestContext, instance: WireObject, state: PowerState) -> None:
        vm_state = str(instance.get("vm_state"))
        if state not in STOPPED_WHEN.get(vm_state, ()):
            self._instances.save(
                context, instance, expected_task_state=[None], power_state=int(state)
            )
            return
        LOG.warning("Guest of server %s is %s though the server is %s; stopping it",
                    instance["uuid"], state.name.lower(), vm_state)  # fmt: skip
        self._own.ask(
            context,
            instance,
            "stop_instance",
            action="stop",
            task_state=TaskState.POWERING_OFF,
            clean_shutdown=True,
        )


def _agree(instance: WireObject, state: PowerState) -> bool:
    """Whether there is nothing to do: record and guest agree, or somebody is at work on it."""
    if instance.get("task_state") is not None:
        return True
    return instance.get("power_state") == int(state) and state not in STOPPED_WHEN.get(
        str(instance.get("vm_state")), ()
    )
