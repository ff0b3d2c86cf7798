"""How a server in a task state is settled at start-up, when no journal has its operation.

nova-compute was stopped in the middle of the operation, or the request came while no agent ran.
Operations in the journal are resumed by the engine instead.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nova_lite.model.states import TaskState

if TYPE_CHECKING:
    from nova_lite.operations.base import Operation


class Settlement(enum.Enum):
    """How a server gets out of its task state."""

    REDO = enum.auto()  # the verb is done, once more or for the first time
    CLEAR = enum.auto()  # the task state is cleared; the server is as it was
    FAIL = enum.auto()  # a fault, and vm_state ERROR: nobody can tell how far it came


@dataclass(frozen=True)
class AfterRestart:
    """What is done with a server that is found in one task state of a verb.

    ``arguments`` are those of a REDO, beside ``instance``; with ``with_mappings`` the block device
    mappings of the records go along as ``bdms``, with ``with_migration`` the server's last
    migration as ``migration``. ``task_state`` is saved before a REDO where it is not the one that
    the server was found in. ``unless_running``: a guest that runs shows that
    nothing was begun or everything is over, so that the server is recorded ACTIVE instead, without
    a task state. ``in_error``: this holds for a server in vm_state ERROR, too; the other task
    states of such a server are old, and it waits for its user.
    """

    settlement: Settlement
    arguments: Mapping[str, Any] = field(default_factory=dict)
    with_mappings: bool = False
    with_migration: bool = False
    task_state: TaskState | None = None
    unless_running: bool = False
    in_error: bool = False


def by_task_state(
    verbs: Mapping[str, type[Operation]],
) -> dict[TaskState, tuple[str, AfterRestart]]:
    """Each task state that a verb declares -> that verb, by its method, and what is done.

    Verbs may share a task state that all of them settle in the same way; any of them is named.

    :param verbs: method of the compute RPC API -> its operation
    :raises ValueError: two verbs would settle one task state differently
    """
    found: dict[TaskState, tuple[str, AfterRestart]] = {}
    for method, verb in verbs.items():
        for task_state, rule in verb.after_restart.items():
            other, known = found.setdefault(task_state, (method, rule))
            if known != rule or (other != method and rule.settlement is Settlement.REDO):
                raise ValueError(f"{other} and {method} both settle the task state {task_state}")
    return found
