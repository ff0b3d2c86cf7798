"""Requests that this agent could not or would not carry out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import NovaLiteError
from nova_lite.failures import Failure
from nova_lite.model.states import VmState
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

# What is asked of a move that goes on: its task state is not over.
IN_PASSING = frozenset({"live_migration_abort", "live_migration_force_complete"})


class Refusals:
    """Records the failure of casts that this agent could not or would not carry out.

    ``events`` maps a method to the name of its event where that is not ``compute_<method>``.
    """

    def __init__(self, tools: Toolbox, events: Mapping[str, str]) -> None:
        self._tools = tools
        self._events = events

    def report(
        self, context: RequestContext, instance: WireObject, method: str, failure: Failure
    ) -> None:
        """Save action event, fault and a clear task state; a server being built goes to ERROR."""
        uuid, actions = str(instance["uuid"]), self._tools.actions
        event = self._events.get(method, f"compute_{method}")
        actions.start(context, uuid, event)
        actions.fault(context, uuid, failure)
        if method not in IN_PASSING:
            self._clear(context, instance)
        actions.finish(context, uuid, event, failure)

    def _clear(self, context: RequestContext, instance: WireObject) -> None:
        # Of an instance that may be anything no more than its keys goes back.
        record = WireObject.new("Instance", VERSIONS["Instance"])
        record.data.update({key: instance[key] for key in ("uuid", "id") if key in instance})
        fields: dict[str, Any] = {"task_state": None}
        if "task_state" in instance:
            # Whoever has begun something else with the server since, here or elsewhere, goes on.
            fields["expected_task_state"] = [instance.get("task_state")]
        if instance.get("vm_state") == VmState.BUILDING:
            fields["vm_state"] = VmState.ERROR
        try:
            self._tools.instances.save(context, record, **fields)
        except NovaLiteError as error:
            LOG.error("Could not clear the task state of server %s: %s", instance["uuid"], error)
