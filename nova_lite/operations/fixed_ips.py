"""add_fixed_ip_to_instance, remove_fixed_ip_from_instance: one more address, or one less.

The guest is not touched: it learns of its addresses by DHCP or from its user. nova-api casts both.

Resume rule: forward. What Neutron refuses changes nothing. A failure after the port was changed
leaves it changed; the next refresh of the network cache shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.operations.notified import END
from nova_lite.steps.base import Plan, Step
from nova_lite.steps.network.fixed_ips import AddFixedIp, RemoveFixedIp
from nova_lite.steps.network.ports import RefreshPorts
from nova_lite.steps.records.server import TouchRecord


class FixedIpOperation(Operation):
    """What both have in common; stock has no action event for them."""

    event = None
    last_resort = {}

    def load(self) -> None:
        self.work.reload()

    def changed_by(self, step: Step) -> Plan:
        """``step``, and what shows its effect to the API."""
        work = self.work
        return [(step,), (RefreshPorts(work, keep_lost=True),), (TouchRecord(work),)]

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail(addresses=phase == END)

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tell(failure)


class AddFixedIpToServer(FixedIpOperation):
    requires = {"network_id": str}
    notifies = "create_ip"

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["network_id"])

    def plan(self) -> Plan:
        return self.changed_by(AddFixedIp(self.work, str(self.work.arguments["network_id"])))


class RemoveFixedIpFromServer(FixedIpOperation):
    requires = {"address": str}
    notifies = "delete_ip"

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["address"])

    def plan(self) -> Plan:
        return self.changed_by(RemoveFixedIp(self.work, str(self.work.arguments["address"])))
