"""start_instance: define the guest anew from what the cloud knows of it, and start it."""

from __future__ import annotations

from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.power import PowerOperation
from nova_lite.steps.base import Plan
from nova_lite.steps.domain import DefineGuest, StartGuest
from nova_lite.steps.network import PlugInterfaces, RefreshPorts
from nova_lite.steps.records import ReportPower


class Start(PowerOperation):
    event = "compute_start_instance"
    notifies = "power_on"

    def plan(self) -> Plan:
        work = self.work
        return [
            (RefreshPorts(work),),
            (PlugInterfaces(work),),
            (DefineGuest(work),),
            (StartGuest(work, await_ports=False),),
            (ReportPower(work, VmState.ACTIVE, [TaskState.POWERING_ON]),),
        ]
