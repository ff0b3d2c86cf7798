"""detach_interface: take a port's interface from its server, then delete or unbind the port.

Resume rule: forward. A failure leaves the port attached and in the records, so that it can be
detached again: a guest that does not let go of the card keeps it, and it goes on working.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import PortNotAttached, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services import guest
from nova_lite.services.notes import AttachNotes
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.devices import DescribePorts, UntagNic
from nova_lite.steps.network.deleted import UnplugPort
from nova_lite.steps.network.detach import ForgetInterface, ReleasePort, UnplugNic
from nova_lite.wire import network_info


class DetachInterface(Operation):
    event = "compute_detach_interface"
    requires = {"port_id": str}
    notifies = "interface_detach"
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["port_id"])

    def load(self) -> None:
        work, port_id = self.work, str(self.work.arguments["port_id"])
        # The network cache in the message is as old as the message; others may be detached since.
        work.reload()
        if AttachNotes.of(work.notes).detach_vif is not None:
            return
        vif = next((vif for vif in guest.vifs(work) if vif.id == port_id), None)
        if vif is None:
            raise PortNotAttached(f"Port {port_id} is not attached")
        work.note(detach_vif=network_info.dump([vif]))

    def plan(self) -> Plan:
        work = self.work
        found = network_info.load(AttachNotes.of(work.notes).detach_vif)
        if not found:
            return []  # it is not attached
        vif = found[0]
        return [
            (UnplugNic(work, vif),),
            (UnplugPort(work, vif),),
            (ReleasePort(work, vif),),
            (ForgetInterface(work, vif),),
            (UntagNic(work, vif.mac), DescribePorts(work, without=vif.id)),
        ]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tell(failure)
