"""What this host asks of itself: the same as a user's request, on nobody's behalf.

In stock the compute process runs the API's own code for it; its visible effects are the task state
and an action that ``openstack server event list`` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.engine.engine import Engine
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


class OwnRequests:
    """Begins operations as nova-api would."""

    def __init__(self, instances: Instances, actions: Actions, engine: Engine) -> None:
        self._instances = instances
        self._actions = actions
        self._engine = engine

    def busy(self, server_uuid: str) -> bool:
        """Whether an operation runs or waits for this server."""
        return self._engine.busy(server_uuid)

    def ask(
        self,
        context: RequestContext,
        instance: WireObject,
        method: str,
        *,
        action: str,
        task_state: str,
        expected_task_state: Sequence[str | None] = (None,),
        **arguments: Any,
    ) -> None:
        """Begin ``method`` on a server.

        :param action: the API's name for it, such as ``stop``
        :param task_state: what the server's task state becomes
        :param arguments: of the RPC method, beside ``instance``
        :raises UnexpectedTaskState, ServerNotFound: somebody else was faster
        """
        uuid = str(instance["uuid"])
        self._instances.save(
            context,
            instance,
            expected_task_state=list(expected_task_state),
            task_state=task_state,
            progress=0,
        )
        self._actions.action_start(context, uuid, action)
        self._engine.begin(method, context, uuid, {"instance": instance, **arguments})
