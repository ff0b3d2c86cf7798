"""remove_lost_arrival: nothing stays of a server from another cell whose move was taken back.

Nobody sends it: this host begins it when the record is gone (``loops.lost_arrivals``). The server
goes on in its old cell, and must not run twice. Ports and attachments nova-conductor has taken
back.

Resume rule: forward; it looks for the record anew.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.cells.arrive import DisconnectLost, ForgetArrival
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources

LOG = logging.getLogger(__name__)


class RemoveLostArrival(Operation):
    event = None
    requires = {"volumes": dict}
    places = ANYWHERE
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._has_record = False

    def load(self) -> None:
        work = self.work
        everything = work.context.elevated(read_deleted=True)
        try:
            self.tools.instances.get(everything, work.uuid, ())
            self._has_record = True
        except ServerNotFound:
            remember_ports(work)

    def plan(self) -> Plan:
        work = self.work
        if self._has_record:
            LOG.info("Server %s has a record again: it is left alone", work.uuid)
            return []
        return [
            (RemoveGuest(work),),
            (UnplugInterfaces(work), DisconnectLost(work)),
            (RemoveDisks(work),),
            (ReleaseResources(work),),
            (ForgetArrival(work),),
        ]

    def failed(self, failure: Failure) -> None:
        LOG.error("What is here of server %s, whose move to this cell was taken back, is not "
                  "removed, and will be tried again: %s",
                  self.work.uuid, failure.message)  # fmt: skip
