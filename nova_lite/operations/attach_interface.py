"""attach_interface: attach a port, or one that is made on a network, to a server; the caller waits.

Resume rule: forward, whether or not the caller still waits: the API shows the port. Roll back: the
card leaves the guest, the port's host side and records go, and the port is deleted or unbound. A
guest that does not let go of the card keeps it, and the port stays attached until it is detached.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import InterfaceAttachFailed, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.operations.notified import ERROR
from nova_lite.services.notes import AttachNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.guest.devices import DescribePorts
from nova_lite.steps.network.attach import (
    AttachNic,
    BindPort,
    ChoosePort,
    DescribeNic,
    PlugPort,
    RecordPort,
)

LOG = logging.getLogger(__name__)


class AttachInterface(Operation):
    event = "compute_attach_interface"
    requires = {"network_id": object, "port_id": object, "requested_ip": object, "tag": object}
    answers = True
    notifies = "interface_attach"
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._refused_here = False

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments.get("port_id") or arguments.get("network_id") or "")

    def load(self) -> None:
        # The network cache in the message is as old as the message; others may be attached since.
        self.work.reload()

    def plan(self) -> Plan:
        work = self.work
        choice = ChoosePort(work)
        return [
            (choice,),
            (BindPort(work, choice),),
            (RecordPort(work),),
            (PlugPort(work),),
            (AttachNic(work),),
            (DescribeNic(work),),
            (DescribePorts(work),),
            COMPLETE,
        ]

    def answer(self) -> Any:
        """The interface in the form of the network cache."""
        return json.loads(str(AttachNotes.of(self.work.notes).attach_vif))[0]

    def notifications(self, phase: str) -> list[str]:
        """As in stock: the action has an error only where this host has refused the interface."""
        told = super().notifications(phase)
        if phase == ERROR and self._refused_here:
            return [f"{self.notifies}.{ERROR}", *told]
        return told

    def failed(self, failure: Failure) -> None:
        work = self.work
        self._refused_here = failure.nova_name == InterfaceAttachFailed.nova_name
        if ChoosePort.name in work.left:
            LOG.error("Port %s, whose attach has failed, could not be taken back from server %s: "
                      "it stays until it is detached",
                      AttachNotes.of(work.notes).attach_port, work.uuid)  # fmt: skip
        if failure.verdict != Verdict.GONE:
            self.tell(failure)
