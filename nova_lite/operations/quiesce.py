"""quiesce_instance and unquiesce_instance: the API freezes a guest around snapshots of its volumes.

Resume rule of quiesce: roll back. The caller got no answer and will not ask for the thaw, so the
guest is thawed here. The same is done when the answer comes too late, and when the freeze fails,
for it may still take effect. Unquiesce: forward.
"""

from __future__ import annotations

from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.guest_agent import require_agent
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.guest.agent import FreezeGuest, KeepFrozen, ThawGuest, require_caller


class Quiesce(Operation):
    event = None
    answers = True
    rolls_back_unanswered = True
    last_resort = {}

    def load(self) -> None:
        require_agent(self.work)
        require_caller(self.work)

    def plan(self) -> Plan:
        return [(FreezeGuest(self.work),), (KeepFrozen(self.work),), COMPLETE]

    def failed(self, failure: Failure) -> None:
        """The caller gets the error; nothing is recorded."""


class Unquiesce(Operation):
    event = None
    last_resort = {}

    def plan(self) -> Plan:
        return [(ThawGuest(self.work),)]

    def failed(self, failure: Failure) -> None:
        """Nobody waits for a cast; the error is only logged."""
