"""What stop, start and reboot have in common."""

from __future__ import annotations

from typing import Any

from nova_lite.errors import Failure, NovaLiteError, Verdict
from nova_lite.operations.base import Operation


class PowerOperation(Operation):
    """A verb on an existing guest. It has nothing to take back: a failure clears the task state.

    Resume rule: forward; the steps ask the hypervisor what is still to be done.
    """

    def load(self) -> None:
        self.work.reload()

    def failed(self, failure: Failure) -> None:
        tools, work = self.tools, self.work
        if failure.verdict == Verdict.GONE.value:
            return
        tools.actions.fault(work.context, work.uuid, failure)
        fields: dict[str, Any] = {"task_state": None}
        try:
            fields["power_state"] = int(tools.hypervisor.power_state(work.uuid))
        except NovaLiteError:
            pass
        tools.instances.save(work.context, work.instance, **fields)
