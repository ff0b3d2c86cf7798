"""The power state of a guest, as the hypervisor reports it."""

from __future__ import annotations

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound
from nova_lite.model.states import NOT_ON, PowerState


def power_state(hypervisor: Hypervisor, uuid: str) -> PowerState:
    """The power state of the guest of a server; NOSTATE without a guest."""
    try:
        return hypervisor.power_state(uuid)
    except DomainNotFound:
        return PowerState.NOSTATE


def is_on(hypervisor: Hypervisor, uuid: str) -> bool:
    """Whether the guest is powered on, paused or not."""
    return power_state(hypervisor, uuid) not in NOT_ON


def is_running(hypervisor: Hypervisor, uuid: str) -> bool:
    """Whether the guest executes instructions."""
    return power_state(hypervisor, uuid) == PowerState.RUNNING
