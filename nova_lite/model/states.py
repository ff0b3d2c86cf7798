"""Server states as Nova's API knows them, and which may follow which.

vm_state is the stable state a user sees, task_state what is going on, power_state what the
hypervisor says. Values are those of the Instance object (see also the compute API guide).
"""

from __future__ import annotations

import enum


class VmState(enum.StrEnum):
    ACTIVE = "active"
    BUILDING = "building"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    RESCUED = "rescued"
    RESIZED = "resized"
    SOFT_DELETED = "soft-delete"
    DELETED = "deleted"
    ERROR = "error"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"


class TaskState(enum.StrEnum):
    SCHEDULING = "scheduling"
    BLOCK_DEVICE_MAPPING = "block_device_mapping"
    NETWORKING = "networking"
    SPAWNING = "spawning"
    REBOOTING = "rebooting"
    REBOOT_PENDING = "reboot_pending"
    REBOOT_STARTED = "reboot_started"
    REBOOTING_HARD = "rebooting_hard"
    REBOOT_PENDING_HARD = "reboot_pending_hard"
    REBOOT_STARTED_HARD = "reboot_started_hard"
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"
    DELETING = "deleting"
    SOFT_DELETING = "soft-deleting"


class PowerState(enum.IntEnum):
    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


# What each verb of this agent does to vm_state: verb -> (allowed before, after success).
TRANSITIONS: dict[str, tuple[frozenset[VmState], VmState]] = {
    "build": (frozenset({VmState.BUILDING}), VmState.ACTIVE),
    "delete": (frozenset(VmState), VmState.DELETED),
    "stop": (
        frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR, VmState.RESCUED}),
        VmState.STOPPED,
    ),
    "start": (frozenset({VmState.STOPPED, VmState.ERROR}), VmState.ACTIVE),
    "reboot": (
        frozenset(
            {VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.ERROR}
        ),
        VmState.ACTIVE,
    ),
}


class InvalidTransition(ValueError):
    """A verb was applied to a server whose vm_state does not allow it."""


def after(verb: str, vm_state: str) -> VmState:
    """Return the vm_state that ``verb`` leads to from ``vm_state``.

    :raises InvalidTransition: the verb may not start from this state
    """
    allowed, result = TRANSITIONS[verb]
    if VmState(vm_state) not in allowed:
        raise InvalidTransition(f"cannot {verb} a server that is {vm_state}")
    return result
