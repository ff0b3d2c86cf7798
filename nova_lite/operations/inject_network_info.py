"""inject_network_info: refresh the server's network cache from Neutron.

Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.network.ports import RefreshPorts


class InjectNetworkInfo(Operation):
    event = None
    last_resort = {}

    def load(self) -> None:
        self.work.reload()

    def plan(self) -> Plan:
        return [(RefreshPorts(self.work, keep_lost=True),)]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tell(failure)
