"""Resize, cold and live migration: refused, until they exist, in a way that leaves nothing behind.

Before the first host hears of a move, the conductor has given what the server holds in Placement
to the migration, and to the server what it will need on the other host. Only the hosts take that
back. So a refusal is an operation: it survives a kill, and each of its parts may be repeated.

Resume rule: forward, to the end of the refusal.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from nova_lite.errors import (
    ControlPlaneUnavailable,
    MoveUnsupported,
    NovaLiteError,
    Verdict,
)
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services.notes import BuildNotes, MoveNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.records.refusal import Refuse
from nova_lite.wire.objects import WireObject, unwrap

LOG = logging.getLogger(__name__)

COLD = "resize and cold migration"


class RefusedMove(Operation):
    """A refusal. It has no effect on a move that is over, or is not the one it was asked for.

    ``reported_as`` is its action event, ``what`` is named in the fault, ``ends_in`` the status that
    the migration gets; ``gives_back``: the server holds in Placement what it held before the move.
    """

    event = None  # told here: whoever is asked next has an event of the same name
    requires = {"migration": WireObject}
    places = ANYWHERE
    last_resort = {}
    reported_as: ClassVar[str]
    what: ClassVar[str] = COLD
    ends_in: ClassVar[str] = "error"
    gives_back: ClassVar[bool] = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._migration: WireObject = work.arguments["migration"]

    def plan(self) -> Plan:
        # Users see it, and are not told which host it is.
        error = MoveUnsupported(f"the compute host (nova_lite) does not support {self.what} yet")
        return [(Refuse(self.work, error),)]

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if not self._is_open():
            LOG.info("Migration %s of server %s is over", self._migration["uuid"], work.uuid)
            return
        if not BuildNotes.of(work.notes).handing_over:
            if self.gives_back:
                self._give_back()
            tools.actions.fault(work.context, work.uuid, failure)
        if not self._hand_over(failure):
            # First: a migration that is open would be taken for the one of the next request.
            tools.migrations.save(work.context, self._migration, status=self.ends_in)
            self.save_failed(task_state=None, **self._left())
            tools.actions.finish(work.context, work.uuid, self.reported_as, failure)
        tools.usage_changed()

    def _is_open(self) -> bool:
        """Whether the move is not over, but for what this has ended of it already."""
        work = self.work
        begun = MoveNotes.of(work.notes).refusing
        found = self.tools.migrations.open_of_server(work.context, work.uuid)
        if found is None or int(found["id"]) < int(self._migration["id"]):
            return begun  # what is older was left open by somebody else
        if found["uuid"] != self._migration["uuid"]:
            return False
        if not begun:
            self.tools.actions.start(work.context, work.uuid, self.reported_as)
            work.note(refusing=True)
        return True

    def _give_back(self) -> None:
        """Let the server hold what it held before; the rest does not depend on it."""
        migration, work = str(self._migration["uuid"]), self.work
        try:
            self.tools.placement.move_allocations(migration, work.uuid)
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            LOG.error("What server %s holds in Placement stays with migration %s; 'nova-manage "
                      "placement heal_allocations' repairs it: %s",
                      work.uuid, migration, error)  # fmt: skip

    def _hand_over(self, failure: Failure) -> bool:
        """Ask the conductor for the next host; whether there is one."""
        return False

    def _left(self) -> dict[str, object]:
        """What of the server is not as it was before the move."""
        return {}


class RefusedPrepResize(RefusedMove):
    """This host is to get the server, which is on another one, or to resize its own."""

    reported_as = "compute_prep_resize"
    requires = {
        "migration": WireObject,
        "flavor": WireObject,
        "request_spec": object,
        "filter_properties": object,
        "clean_shutdown": object,
        "host_list": object,
    }

    def _hand_over(self, failure: Failure) -> bool:
        """As a failed boot is handed over: once, with the hosts that are left."""
        work = self.work
        properties = work.arguments["filter_properties"] or {}
        hosts = work.arguments["host_list"]
        if not properties.get("retry") or not hosts or failure.verdict is Verdict.GONE:
            return False  # a host was named, there is no other one, or the server is being deleted
        if BuildNotes.of(work.notes).handed_over:
            return True
        begun = BuildNotes.of(work.notes).handing_over
        if not begun:
            work.note(handing_over=True)
            self.tools.actions.finish(work.context, work.uuid, self.reported_as, failure)
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
            held = self.tools.placement.allocations(str(self._migration["uuid"]))
            if held["allocations"] or work.instance.get("task_state") != TaskState.RESIZE_PREP:
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(pace.handover_poll)


class RefusedResize(RefusedMove):
    """This host has the server, and another one has prepared to get it."""

    reported_as = "compute_resize_instance"


class RefusedLiveMigration(RefusedMove):
    """This host has the server, and is to move it while it runs."""

    reported_as = "compute_live_migration"
    what = "live migration"


class RefusedConfirmation(RefusedMove):
    """A server was resized by another agent: what it asks may be asked again of that one."""

    reported_as = "compute_confirm_resize"
    what = "confirming a resize"
    ends_in = "finished"
    gives_back = False


class RefusedRevert(RefusedConfirmation):
    """As RefusedConfirmation."""

    reported_as = "compute_revert_resize"
    what = "reverting a resize"


class RefusedFinish(RefusedMove):
    """The server's disks have come from a host whose agent counted on another agent here: its
    guest is off, and no other host has it."""

    reported_as = "compute_finish_resize"
    gives_back = False

    def _left(self) -> dict[str, object]:
        return {"vm_state": VmState.ERROR}


class RefusedFinishRevert(RefusedFinish):
    """The same, on its way back."""

    reported_as = "compute_finish_revert_resize"
