"""Live migration: refused, until it exists, in a way that leaves nothing behind.

A refusal is an operation: it survives a kill, and each of its parts may be repeated. What the
control plane has done for the move is taken back (``operations.move``).

Resume rule: forward, to the end of the refusal.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveUnsupported
from nova_lite.failures import Failure
from nova_lite.operations.move import Move
from nova_lite.steps.base import Plan
from nova_lite.steps.records.refusal import Refuse

LOG = logging.getLogger(__name__)


class RefusedLiveMigration(Move):
    """This host has the server, and is to move it while it runs. It has no effect on a move that is
    over, or is not the one it was asked for."""

    event = None  # told here: whoever is asked next has an event of the same name
    last_resort = {}
    reported_as = "compute_live_migration"

    def plan(self) -> Plan:
        # Users see it, and are not told which host it is.
        reason = "the compute host (nova_lite) does not support live migration yet"
        return [(Refuse(self.work, MoveUnsupported(reason)),)]

    def begin_to_refuse(self) -> None:
        self.tools.actions.start(self.work.context, self.work.uuid, self.reported_as)

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if not self.is_open():
            LOG.info("Migration %s of server %s is over", self.migration["uuid"], work.uuid)
            return
        self.give_back()
        tools.actions.fault(work.context, work.uuid, failure)
        # First: a migration that is open would be taken for the one of the next request.
        self.end_migration()
        self.save_failed(task_state=None)
        tools.actions.finish(work.context, work.uuid, self.reported_as, failure)
        tools.usage_changed()
