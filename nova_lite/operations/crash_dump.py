"""trigger_crash_dump: send an NMI, upon which a guest with kdump or similar dumps its memory.

Neither vm_state nor task state changes.

Resume rule: an NMI that may have been sent is not sent again: a second one would interrupt the dump
that the first one began.
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
    last_resort = {}

    def plan(self) -> Plan:
        return [(InjectNmi(self.work),)]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tell(failure)
