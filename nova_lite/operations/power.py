"""What the verbs on an existing guest have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from nova_lite.errors import NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import POWERED_OFF, PowerState, VmState
from nova_lite.operations.base import Operation


class PowerOperation(Operation):
    """A verb on an existing guest. It has nothing to take back: a failure clears the task state.

    ``needs`` names what must be known of the server; where the request tells it, nothing is
    fetched. None: everything, as it is now.

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
        tools.actions.fault(work.context, work.uuid, failure)
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
        """What the server is then, by what the hypervisor says of its guest; None: as before."""
        return None


class RunningGuestOperation(PowerOperation):
    """A verb that only a guest that is on can be asked for; one that turns out to be off is off."""

    needs = ("vm_state", "system_metadata")

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        return VmState.STOPPED if power in POWERED_OFF else None
