"""Base classes of the verbs on an existing guest."""

from __future__ import annotations

from typing import Any, ClassVar

from nova_lite.errors import NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import POWERED_OFF, PowerState, VmState
from nova_lite.operations.base import Operation


class PowerOperation(Operation):
    """A verb on an existing guest. It has nothing to undo: a failure clears the task state.

    ``needs`` names the instance fields that the verb reads; the instance is reloaded only if the
    request lacks one of them. None: it is always reloaded.

    Resume rule: forward; the steps ask the hypervisor what is still to be done.
    """

    needs: ClassVar[tuple[str, ...] | None] = None

    def load(self) -> None:
        work = self.work
        told = self.needs is not None and all(field in work.instance for field in self.needs)
        if work.resumed or not told:
            work.reload()

    def failed(self, failure: Failure) -> None:
        tools, work = self.tools, self.work
        if failure.verdict == Verdict.GONE:
            return
        self.tell(failure)
        power: PowerState | None = None
        try:
            power = tools.hypervisor.power_state(work.uuid)
        except NovaLiteError:
            pass
        fields: dict[str, Any] = {"task_state": None}
        if power is not None:
            fields["power_state"] = int(power)
        vm_state = self.vm_state_after_failure(power)
        if vm_state is not None:
            fields["vm_state"] = vm_state
        self.save_failed(**fields)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        """The vm_state to save after a failure, by the guest's power state; None: unchanged."""
        return None


class RunningGuestOperation(PowerOperation):
    """A verb on a running guest; a failure with the guest powered off saves vm_state STOPPED."""

    needs = ("vm_state", "system_metadata")

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        return VmState.STOPPED if power in POWERED_OFF else None
