"""settle_live_migration: a server of this host is MIGRATING, and no journal has the operation.

Nobody sends it: the survey at start begins it (``membership/survey.py``). A stock nova-compute was
stopped in the middle, or the message never came. As stock does it, a migration that goes on is
ended. A guest that has gone all the same is the other host's, and its record comes to say so.

Resume rule: forward. What fails leaves the server without a task state and with a fault.
"""

from __future__ import annotations

import logging

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.operations.base import Operation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services import live_moves, live_places, moves
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.live_places import Where
from nova_lite.services.notes import LiveNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.evacuated import DisconnectOwnVolumes, RemoveOwnFiles
from nova_lite.steps.live.leave import (
    FinishThere,
    ForgetGuest,
    RecordCompleted,
    SwitchPorts,
    UnplugLeft,
)
from nova_lite.steps.live.settle import EndUnfinished, know
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class SettleLiveMigration(Operation):
    event = "compute_live_migration"
    after_restart = {TaskState.MIGRATING: AfterRestart(Settlement.REDO)}
    between_hosts = True
    last_resort = {"task_state": None}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._migration: WireObject | None = None

    def load(self) -> None:
        work = self.work
        moves.reload(work)
        self._migration = self._find()
        if self._migration is None:
            return
        know(work, self._migration)
        if self._is_gone() or not live_moves.is_asked(work):
            return
        remember_own_side(work)
        if live_places.settle(work, give_up=True) is Where.THERE:
            work.note(live_gone=True)

    def _is_gone(self) -> bool:
        return self._migration is not None and LiveNotes.of(self.work.notes).live_gone

    def _find(self) -> WireObject | None:
        """The live migration that is not over."""
        work = self.work
        found = self.tools.migrations.open_of_server(work.context.elevated(), work.uuid)
        live = found is not None and found.get("migration_type") == "live-migration"
        return found if live else None

    def plan(self) -> Plan:
        work = self.work
        if not self._is_gone():
            asked = live_moves.is_asked(work)
            return [(EndUnfinished(work, self._migration),)] if asked else []
        LOG.warning("Server %s has gone to host %s, and nobody has recorded it",
                    work.uuid, live_moves.target(work))  # fmt: skip
        return [
            (SwitchPorts(work),),
            (ForgetGuest(work),),
            (FinishThere(work),),
            (
                UnplugLeft(work),
                DisconnectOwnVolumes(work),
                RemoveOwnFiles(work, live_moves.target(work)),
            ),
            (RecordCompleted(work),),
        ]

    def failed(self, failure: Failure) -> None:
        if failure.verdict is Verdict.GONE:
            LOG.info("Server %s is about something else by now: %s",
                     self.work.uuid, failure.message)  # fmt: skip
            return
        self.tell(failure)
        self.save_failed(task_state=None)
