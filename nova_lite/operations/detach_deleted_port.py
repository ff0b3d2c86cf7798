"""detach_deleted_port: take the interface of a port that was deleted in Neutron from its server.

Begun after Neutron has sent the event network-vif-deleted, or when a refresh of the network cache
finds that a port is gone. The interface leaves the guest, then the host; the port leaves the
network cache last, so that it is not forgotten while anything of it is here.

Resume rule: forward. A guest that cannot or does not release the interface (it is paused,
suspended, rescued, or has no system that heeds it) keeps it until it is defined anew: the next
start, hard reboot or delete removes it (``steps/network/ports.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.interfaces import deleted_port
from nova_lite.services.notes import PortNotes
from nova_lite.steps.base import Plan
from nova_lite.steps.guest.devices import DescribePorts
from nova_lite.steps.network.deleted import DetachNic, ForgetPort, UnplugPort, keeps_devices
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)


class DetachDeletedPort(Operation):
    event = None
    requires = {"port_id": str}
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["port_id"])

    def load(self) -> None:
        work, port_id = self.work, str(self.work.arguments["port_id"])
        work.reload()
        if PortNotes.of(work.notes).deleted is not None or not work.here:
            return
        vif = deleted_port(work, port_id)
        if vif is None:
            LOG.info("Port %s of server %s was deleted; nothing of it is here", port_id, work.uuid)
        elif keeps_devices(work):
            LOG.warning("Port %s of server %s was deleted, but the guest is %s: it keeps the "
                        "interface until it is started anew",
                        port_id, work.uuid, work.instance.get("vm_state"))  # fmt: skip
        elif port_id not in self.tools.ports.gone(work.context, [port_id]):
            LOG.warning("Port %s of server %s is said to be deleted, but Neutron has it; it stays",
                        port_id, work.uuid)  # fmt: skip
        else:
            work.note(deleted=network_info.dump([vif]))

    def plan(self) -> Plan:
        work = self.work
        found = network_info.load(PortNotes.of(work.notes).deleted)
        if not found:
            return []  # there is nothing to do, or it cannot be done now
        vif = found[0]
        return [
            (DetachNic(work, vif),),
            (UnplugPort(work, vif),),
            (ForgetPort(work, vif),),
            (DescribePorts(work, without=vif.id),),
        ]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            LOG.warning("The interface of deleted port %s stays in the guest of server %s until it "
                        "is started anew: %s",
                        self.work.arguments["port_id"], self.work.uuid,
                        failure.message)  # fmt: skip
