"""What the verbs of a move have in common: whose move it is, and how it is given up.

Before the first host hears of a move, the conductor has given what the server holds in Placement
to the migration, and to the server what it will need on the other host. Only the hosts take that
back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import (
    ControlPlaneUnavailable,
    MoveSuperseded,
    NovaLiteError,
    ServerBeingDeleted,
    ServerNotFound,
    UnexpectedTaskState,
    Verdict,
)
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.operations.notified import MILESTONE, START
from nova_lite.services import move_ends, moves
from nova_lite.services.notes import MoveNotes
from nova_lite.services.work import Work
from nova_lite.steps.network.binding import save_cache
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

ENDED_BY_ERROR = "error"
DELETED = (ServerBeingDeleted.nova_name, ServerNotFound.nova_name)


class Move(Operation):
    """A verb of one migration; it finds out by itself whose server it is."""

    requires = {"migration": WireObject}
    places = ANYWHERE
    notifies_mappings = True
    between_hosts = True
    # Task states in which the server is while this verb has it.
    own_tasks: tuple[str, ...] = ()

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.migration = moves.migration(work)

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        """A request may lead to several migrations, one after the other."""
        return str(arguments["migration"].get("uuid", ""))

    def is_open(self) -> bool:
        """Whether the move is not over, but for what this has ended of it already."""
        work = self.work
        begun = MoveNotes.of(work.notes).refusing
        found = self.tools.migrations.open_of_server(work.context, work.uuid)
        if found is None or int(found["id"]) < int(self.migration["id"]):
            return begun  # what is older was left open by somebody else
        if found["uuid"] != self.migration["uuid"]:
            return False
        if not begun:
            work.note(refusing=True)
        return True

    def is_stale(self, failure: Failure) -> bool:
        """Whether what failed is a message that has come too late, or a second time: the move is
        over, or another process or host goes on with it."""
        work = self.work
        if failure.nova_name == MoveSuperseded.nova_name:
            return True
        if failure.nova_name == UnexpectedTaskState.nova_name:
            try:
                work.reload()
            except ServerNotFound:
                return True
            if moves.is_under_way(work, self.migration):
                return True
        return not self.is_open()

    def give_back(self) -> None:
        """Let the server hold what it held before; the rest does not depend on it."""
        migration, work = str(self.migration["uuid"]), self.work
        try:
            self.tools.placement.move_allocations(migration, work.uuid)
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            LOG.error("What server %s holds in Placement stays with migration %s; 'nova-manage "
                      "placement heal_allocations' repairs it: %s",
                      work.uuid, migration, error)  # fmt: skip

    def let_go(self) -> None:
        """Give back what the migration holds: the server does not need it any more."""
        moves.drop_allocation(self.work)

    def end_migration(self, status: str = ENDED_BY_ERROR) -> None:
        """Record that the move is over."""
        self.tools.migrations.save(self.work.context, self.migration, status=status)

    def abandon(self, failure: Failure) -> None:
        """As of any operation, though the record may name the other host."""
        self.abandon_in(self.own_tasks, failure)


class MoveBack(Move):
    """A verb of the host that gets a server back: the last one of its move.

    A failure leaves the server there in ERROR with a fault, so that a hard reboot can help.
    """

    own_tasks = (TaskState.RESIZE_REVERTING,)

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._is_over = False

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if failure.nova_name == ServerBeingDeleted.nova_name:
            self.let_go()
        if failure.verdict is Verdict.GONE:
            LOG.info("Server %s does not come back: %s", work.uuid, failure.message)
            return
        self.tell(failure)
        if move_ends.status(work) == move_ends.REVERTING:
            self.end_migration()
        self.save_failed(vm_state=VmState.ERROR, task_state=None, **move_ends.ended(work))
        save_cache(work)


class MoveStage(Move):
    """A verb that tells its start when the records say so, too, as in stock: after the step
    ``milestone``."""

    def notifications(self, phase: str) -> list[str]:
        if phase in (START, MILESTONE):
            return [f"{self.notifies}.{START}"] if phase == MILESTONE else []
        return super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail(addresses=True)
