"""remove_partial: nothing of a move that failed stays on the host that the server was to go to.

Nobody sends it: this host begins it where a move to it has failed and a directory of the server is
here all the same (``loops.partial_arrivals``). The host that has sent the disks takes them away
itself, but for this host being out of its reach. Stock nova-compute leaves them for ever.

Removed is only what is certainly a part of what another host has: ``steps.move.partial`` says when.
Everything else stays, and is named in the log.

Resume rule: forward; it looks at the records anew.
"""

from __future__ import annotations

import logging

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services.disk_files import directory, removed_name
from nova_lite.steps.base import Plan
from nova_lite.steps.move.partial import RemovePartialFiles

LOG = logging.getLogger(__name__)


class RemovePartial(Operation):
    event = None
    places = ANYWHERE

    def plan(self) -> Plan:
        where = directory(self.work)
        if not (where.exists() or removed_name(where).exists()):
            return []
        return [(RemovePartialFiles(self.work),)]

    def failed(self, failure: Failure) -> None:
        LOG.error("What was sent here of server %s for a move that failed is not removed, and will "
                  "be tried again: %s", self.work.uuid, failure.message)  # fmt: skip
