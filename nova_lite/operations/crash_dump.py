"""trigger_crash_dump: an NMI, upon which a guest that is prepared for it dumps its memory.

Neither the server's state nor its task state changes: what the guest does is its own affair.

Resume rule: an NMI that may have been sent is not sent again. A second one would end the dump that
the first one began, and that dump is all that is left of the guest's trouble.
"""

from __future__ import annotations

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.domain import InjectNmi


class TriggerCrashDump(Operation):
    event = "compute_trigger_crash_dump"
    notifies = "trigger_crash_dump"

    def plan(self) -> Plan:
        return [(InjectNmi(self.work),)]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tools.actions.fault(self.work.context, self.work.uuid, failure)
