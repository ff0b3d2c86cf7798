"""remove_partial: nothing of a move that failed stays on the host that the server was to go to.

Nobody sends it: this host begins it where a move to it has failed and a directory of the server is
here all the same (``loops.partial_arrivals``). The host that has sent the disks takes them away
itself, but for this host being out of its reach. Stock nova-compute leaves them for ever.

Removed is only what is certainly a part of what another host has: ``steps.move.partial`` says when.
Everything else stays, and is named in the log. What was made here for a live migration has a mark
(``services.arrivals``): when that is over, all that this host was prepared with goes.

Resume rule: forward; it looks at the records anew.
"""

from __future__ import annotations

import logging

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import arrivals
from nova_lite.services.disk_files import directory, removed_name
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.live.give_up import (
    DisconnectGivenUp,
    ReleaseArriving,
    RemoveArrivingFiles,
    UnplugArriving,
)
from nova_lite.steps.move.partial import RemovePartialFiles

LOG = logging.getLogger(__name__)


class RemovePartial(Operation):
    event = None
    places = ANYWHERE

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._given_up = False

    def load(self) -> None:
        self._given_up = arrivals.is_given_up(self.work)

    def plan(self) -> Plan:
        where = directory(self.work)
        if not (where.exists() or removed_name(where).exists()):
            return []
        if self._given_up:
            LOG.warning("A live migration of server %s to this host is over, and it is still on "
                        "host %s: removing what was prepared", self.work.uuid,
                        self.work.instance.get("host"))  # fmt: skip
            return [
                (UnplugArriving(self.work, None), DisconnectGivenUp(self.work)),
                (RemoveArrivingFiles(self.work, None), ReleaseArriving(self.work)),
            ]
        if arrivals.marked(where) is not None:
            return []
        return [(RemovePartialFiles(self.work),)]

    def failed(self, failure: Failure) -> None:
        LOG.error("What was sent here of server %s for a move that failed is not removed, and will "
                  "be tried again: %s", self.work.uuid, failure.message)  # fmt: skip
