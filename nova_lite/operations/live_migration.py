"""live_migration: this host has a running server, and another one goes on with it.

The other host prepares itself, the hypervisor sends the guest, and when the guest runs over there
its ports are switched, the other host makes the server its own, and nothing of it is left here. The
hypervisor carries the migration out: it goes on while no agent runs.

Resume rule: by where the guest is, which the hypervisors of both hosts say. As long as it is here,
the migration is begun or watched again, or everything is taken back: the server goes on here, with
a fault. The point of no return is that it runs on the other host; from then on the record comes to
name that host, whatever fails.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.move import DELETED, ENDED_BY_ERROR, Move
from nova_lite.operations.notified import END, ERROR, EXCEPTION, MILESTONE, START
from nova_lite.services import live_moves, live_places, moves
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.live_places import Where
from nova_lite.services.live_watch import was_cancelled
from nova_lite.services.notes import LiveNotes
from nova_lite.services.work import Signal, Work
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.live.forecast import ForecastMigration
from nova_lite.steps.live.leave import (
    DisconnectLeft,
    FinishThere,
    ForgetGuest,
    RecordCompleted,
    RemoveLeftFiles,
    SwitchPorts,
    UnplugLeft,
    take_over,
)
from nova_lite.steps.live.source import (
    AwaitTurn,
    CheckGoing,
    PrepareTarget,
    SendGuest,
    WaitForPlugs,
    forget_target,
    has_arrived,
    to_send_drive,
)
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

FAILED, CANCELLED = "failed", "cancelled"


class LiveMigration(Move):
    event = "compute_live_migration"
    pool = "migrations"
    requires = {
        "migration": WireObject,
        "dest": str,
        "migrate_data": WireObject,
        "block_migration": object,
    }
    notifies = "live_migration_post"
    notifies_mappings = False
    milestone = SwitchPorts
    own_tasks = (TaskState.MIGRATING,)
    last_resort = {"task_state": None}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._gone = False

    def load(self) -> None:
        work = self.work
        if LiveNotes.of(work.notes).live_turn:
            self.tools.turns.take(work.uuid)
        if moves.is_late(work):
            if self.past_return:
                self._look()
            else:
                moves.reload(work)
                if not live_moves.is_there(work):
                    moves.require_current(work)
        if work.resumed and live_moves.is_prepared(work):
            self._gone = live_places.look(work) is Where.THERE
        remember_own_side(work)  # before the other host's side of the ports is recorded

    def _look(self) -> None:
        try:
            self.work.reload()
        except ServerNotFound:
            LOG.warning("Server %s was deleted while it moved", self.work.uuid)

    def left_by_process(self) -> None:
        self.tools.turns.give_back(self.work.uuid)
        self.tools.guest_events.forget(self.work.uuid)

    def plan(self) -> Plan:
        work = self.work
        begin: Plan = [
            (CheckGoing(work),),
            (AwaitTurn(work),),
            (ForecastMigration(work),),
            (PrepareTarget(work),),
            to_send_drive(work),
            (WaitForPlugs(work),),
        ]
        return [
            *([] if self._gone else begin),
            (SendGuest(work),),
            NoWayBack("its guest runs on the other host", lambda: has_arrived(work)),
            (SwitchPorts(work),),
            (ForgetGuest(work),),
            # The user waits for the first of them.
            (FinishThere(work), UnplugLeft(work), DisconnectLeft(work)),
            (RemoveLeftFiles(work), RecordCompleted(work), ForgetConsoles(work)),
        ]

    # --- what is told -----------------------------------------------------------------------
    def notifications(self, phase: str) -> list[str]:
        """As in stock: what comes after the switch has a beginning and an end, and so has what
        comes after a failure."""
        if phase == START:
            return []
        if phase == MILESTONE:
            return [f"{self.notifies}.{START}"]
        if phase == ERROR and not self.past_return:
            back = "live_migration_rollback"
            return [f"{back}.{START}", f"{back}.{END}", EXCEPTION]
        return super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail(addresses=True)

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if self.past_return:
            self._strand(failure)
            return
        if self.is_stale(failure):
            LOG.info("Migration %s of server %s is not this host's any more: %s",
                     self.migration["uuid"], work.uuid, failure.message)  # fmt: skip
            return
        forget_target(work)
        if failure.nova_name in DELETED:
            self.let_go()  # the delete gives back what the server holds
            self.end_migration(CANCELLED)
            return
        self.give_back()
        if Signal.ABORT not in work.signals:  # who has ended it knows why
            self.tell(failure)
        # First: a migration that is open would be taken for the one of the next request.
        refused = ENDED_BY_ERROR if LiveNotes.of(work.notes).live_refused else FAILED
        self.end_migration(CANCELLED if was_cancelled(work) else refused)
        self.save_failed(task_state=None, progress=0, **moves.forgotten(work))
        tools.usage_changed()

    def _strand(self, failure: Failure) -> None:
        """The guest runs on the other host: its record has to say so, whatever has failed."""
        work, tools = self.work, self.tools
        self.tell(failure)
        self._look()
        if live_moves.is_asked(work):
            take_over(work)
        self.let_go()
        self.end_migration()
        tools.usage_changed()

    def abandon(self, failure: Failure) -> None:
        """Where it is not known how far it came, the task state stays only as long as the record
        names the host that has the guest."""
        if self.past_return:
            self._strand(failure)
        else:
            super().abandon(failure)

