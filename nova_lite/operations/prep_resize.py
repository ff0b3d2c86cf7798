"""prep_resize: this host is to get a server, or to give its own one another flavor.

It claims what the new flavor needs, records itself as the target, and asks the host that has the
server to send it. What cannot be done here is refused: then the conductor is asked for the next
host, or the server is as before, with a fault.

Resume rule: forward. Roll back: the claim is dropped. The point of no return is the message to the
other host, which has no effect a second time; whether it was sent the records tell.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound, UnexpectedTaskState, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.notifications import versioned
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.move import DELETED, Move
from nova_lite.operations.notified import END, ERROR, EXCEPTION, EXISTS, START
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services import moves
from nova_lite.services.notes import BuildNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.move.prepare import AskSource, CheckMove, ClaimMove, RecordTarget
from nova_lite.wire.objects import WireObject, unwrap

LOG = logging.getLogger(__name__)


class PrepResize(Move):
    event: str | None = "compute_prep_resize"
    requires = {
        "migration": WireObject,
        "flavor": WireObject,
        "image": object,
        "request_spec": object,
        "filter_properties": object,
        "clean_shutdown": object,
        "host_list": object,
    }
    notifies = "resize_prep"
    notifies_mappings = False
    own_tasks = (TaskState.RESIZE_PREP,)
    last_resort = {"task_state": None}
    # The guest was not touched by then.
    after_restart = {TaskState.RESIZE_PREP: AfterRestart(Settlement.CLEAR)}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        if BuildNotes.of(work.notes).handing_over:
            self.event = None  # it was told; the next host has one of the same name

    def load(self) -> None:
        work = self.work
        if not moves.is_late(work):
            return
        moves.reload(work)
        if self._has_gone_on():
            return
        moves.require_current(work)
        if work.instance.get("task_state") != TaskState.RESIZE_PREP:
            raise UnexpectedTaskState(f"Server {work.uuid} does not wait to be moved any more")

    def plan(self) -> Plan:
        work = self.work
        if work.resumed and self._has_gone_on():
            return []
        return [
            (CheckMove(work),),
            (ClaimMove(work),),
            (RecordTarget(work),),
            (AskSource(work),),
            NoWayBack("the other host has been asked for the server", self.succeeded),
        ]

    def _has_gone_on(self) -> bool:
        return moves.is_under_way(self.work, self.migration)

    def succeeded(self) -> bool:
        """What the other host has begun is not refused any more."""
        try:
            self.work.reload()
        except ServerNotFound:
            return False
        return self._has_gone_on()

    # --- what is told -----------------------------------------------------------------------
    def notifications(self, phase: str) -> list[str]:
        """As in stock: the audit first, the end in any case, the error where it goes on."""
        if phase == START:
            return [EXISTS, f"{self.notifies}.{START}"]
        if phase == ERROR:
            handed_over = BuildNotes.of(self.work.notes).handing_over
            last = f"resize.{ERROR}" if handed_over else EXCEPTION
            return [f"{self.notifies}.{END}", last]
        return super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return detail_of_flavor(self.work.arguments["flavor"], phase)

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if self.past_return or self.is_stale(failure):
            LOG.info("Migration %s of server %s is none of this host's any more: %s",
                     self.migration["uuid"], work.uuid, failure.message)  # fmt: skip
            return
        if failure.nova_name in DELETED:
            self.let_go()  # the delete gives back what the server holds
            self.end_migration()
            return
        if not BuildNotes.of(work.notes).handing_over:
            self.give_back()
            self.tell(failure)
        if not self._hand_over(failure):
            # First: a migration that is open would be taken for the one of the next request.
            self.end_migration()
            self.save_failed(task_state=None, **moves.forgotten(work))
        tools.usage_changed()

    def _hand_over(self, failure: Failure) -> bool:
        """Ask the conductor for the next host, as for a failed boot: once, with those that are
        left; whether there are any."""
        work = self.work
        properties = work.arguments["filter_properties"] or {}
        hosts = work.arguments["host_list"]
        if BuildNotes.of(work.notes).handed_over:
            return True
        if failure.verdict is not Verdict.RESCHEDULE or not properties.get("retry") or not hosts:
            return False  # no host can do it, one was named, or there is no other one
        begun = BuildNotes.of(work.notes).handing_over
        if not begun:
            work.note(handing_over=True)
            self.tools.actions.finish(work.context, work.uuid, "compute_prep_resize", failure)
            self.event = None
        if not begun or not self._taken_over():
            retry = {**properties["retry"], "exc": [failure.message]}
            self.tools.migrations.reschedule(
                work.context,
                work.instance,
                {name: unwrap(value) for name, value in work.arguments.items()},
                {**properties, "retry": retry},
            )
        work.note(handed_over=True)
        LOG.info("The move of server %s goes on with the next host", work.uuid)
        return True

    def _taken_over(self) -> bool:
        """Whether the conductor has done something with what an earlier process cast to it."""
        clock, pace, work = self.tools.clock, self.tools.pace, self.work
        deadline = clock.monotonic() + pace.handover_patience
        while True:
            work.reload()
            held = self.tools.placement.allocations(str(self.migration["uuid"]))
            if held["allocations"] or work.instance.get("task_state") != TaskState.RESIZE_PREP:
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(pace.handover_poll)


def detail_of_flavor(flavor: WireObject, phase: str) -> Detail:
    """What notifications of a phase say of the flavor that a server is to get."""
    if phase == ERROR:
        return Detail()
    more = {}
    if phase == END:
        more = {
            "new_instance_type": flavor.get("name"),
            "new_instance_type_id": flavor.get("id"),
        }
    return Detail("InstanceActionResizePrep", {"new_flavor": versioned.flavor(flavor)}, more)
