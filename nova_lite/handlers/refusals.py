"""Requests that this agent could not or would not carry out."""

from __future__ import annotations

import logging

from nova_lite.errors import Failure, NovaLiteError
from nova_lite.steps.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Refusals:
    """Tells the API of casts that this agent could not or would not carry out."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def report(
        self, context: RequestContext, instance: WireObject, method: str, failure: Failure
    ) -> None:
        """Leave event, fault and a clear task state behind."""
        uuid, actions = str(instance["uuid"]), self._tools.actions
        event = f"compute_{method}"
        actions.start(context, uuid, event)
        actions.fault(context, uuid, failure)
        try:
            self._tools.instances.save(context, instance, task_state=None)
        except NovaLiteError as error:
            LOG.error("Could not clear the task state of server %s: %s", uuid, error)
        actions.finish(context, uuid, event, failure)
