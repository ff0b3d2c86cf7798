"""quiesce_instance and unquiesce_instance: the API freezes a guest around snapshots of its volumes.

Resume rule of quiesce: back. The caller has heard nothing and will not ask for the guest to be
thawed, so that it is thawed here; a failed freeze is thawed as well, for it may still come true.
Unquiesce goes forward.
"""

from __future__ import annotations

import logging

from nova_lite.errors import AnswerLost, Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.guest_agent import FreezeGuest, ThawGuest, require_agent

LOG = logging.getLogger(__name__)


class Quiesce(Operation):
    event = None
    answers = True
    undoes = True

    def load(self) -> None:
        if self.work.resumed:
            raise AnswerLost(
                f"Quiescing of server {self.work.uuid} was cut off; its guest goes on writing"
            )
        require_agent(self.work)

    def plan(self) -> Plan:
        return [(FreezeGuest(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The caller is told; nothing else knows of it."""


class Unquiesce(Operation):
    event = None

    def plan(self) -> Plan:
        return [(ThawGuest(self.work),)]

    def failed(self, failure: Failure) -> None:
        """Nobody waits for it, and the log has it."""
