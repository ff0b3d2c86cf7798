"""Steps that give a server's port another address, or take one from it."""

from __future__ import annotations

from nova_lite.services.notes import PortNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class AddFixedIp(Step):
    """Add an address to a port of the server on a network.

    The addresses that were there before are noted first: whoever repeats it sees what is new.
    """

    name = "add_fixed_ip"

    def __init__(self, work: Work, network_id: str) -> None:
        super().__init__(work)
        self._network_id = network_id

    def do(self) -> None:
        work, fixed_ips = self.work, self.tools.ports.fixed_ips
        before = PortNotes.of(work.notes).addresses
        if before is None:
            before = fixed_ips.on_network(work.context, work.uuid, self._network_id)
            work.note(addresses=before)
        fixed_ips.add(work.context, work.uuid, self._network_id, before)


class RemoveFixedIp(Step):
    """Take an address from the port that has it.

    The port is noted first: whoever repeats it does not call an address unknown that is gone.
    """

    name = "remove_fixed_ip"

    def __init__(self, work: Work, address: str) -> None:
        super().__init__(work)
        self._address = address

    def do(self) -> None:
        work, fixed_ips = self.work, self.tools.ports.fixed_ips
        port_id = PortNotes.of(work.notes).loses_address
        if port_id is None:
            port_id = fixed_ips.port_with(work.context, work.uuid, self._address)
            work.note(loses_address=port_id)
        fixed_ips.remove(work.context, work.uuid, port_id, self._address)
