"""resize_instance: this host has a server, and another one (or this one again) is to go on with it.

The guest is powered off and stays defined, its files are kept under another name and sent, its
volumes are reserved. ``confirm_resize`` removes what is kept, ``finish_revert_resize`` brings it
back.

Resume rule: forward; a copy that was cut off is continued. Roll back: every step is undone, and the
server is what it was, on or off, with a fault; the migration is in ``error``. The point of no
return is the save that makes the other host the server's.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import (
    MoveSuperseded,
    ServerNotFound,
)
from nova_lite.failures import Failure
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.operations.move import DELETED, MoveStage
from nova_lite.services import moves, shares
from nova_lite.services.interfaces import remember_taps
from nova_lite.services.power_state import power_state
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.move.leave import (
    AskTarget,
    CheckLeaving,
    KeepFiles,
    MarkMigrating,
    PowerOffForMove,
    ReachTarget,
    RecordLeft,
    ReleaseToTarget,
    ReserveForMove,
    UnmountForMove,
    UnplugForMove,
)
from nova_lite.steps.move.send import SendDisks
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Resize(MoveStage):
    event = "compute_resize_instance"
    requires = {
        "migration": WireObject,
        "image": object,
        "flavor": WireObject,
        "clean_shutdown": object,
        "request_spec": object,
    }
    notifies = "resize"
    milestone = MarkMigrating
    own_tasks = (TaskState.RESIZE_PREP, TaskState.RESIZE_MIGRATING, TaskState.RESIZE_MIGRATED)

    def load(self) -> None:
        work = self.work
        if moves.is_late(work) or "migration_context" not in work.instance:
            moves.reload(work)
            if not self.past_return and not moves.has_left(self.work):
                moves.require_current(work)
        if not (work.here or moves.has_left(self.work)):
            raise MoveSuperseded(f"Server {work.uuid} is on another host by now")
        remember_taps(work)

    def plan(self) -> Plan:
        work = self.work
        end: Plan = [
            NoWayBack("its record leads to the other host", self._left_by_now),
            (ReleaseToTarget(work),),
            (AskTarget(work), ForgetConsoles(work)),
        ]
        if work.resumed and moves.has_left(self.work):
            return end
        gracefully = bool(work.arguments["clean_shutdown"])
        unmount = (UnmountForMove(work),) if shares.possible(work) else ()
        return [
            (CheckLeaving(work),),
            (MarkMigrating(work),),
            (ReachTarget(work),),
            (PowerOffForMove(work, gracefully=gracefully),),
            (UnplugForMove(work), *unmount),
            (KeepFiles(work),),
            (SendDisks(work),),
            (ReserveForMove(work, for_host=True),),
            (RecordLeft(work),),
            *end,
        ]

    def _left_by_now(self) -> bool:
        try:
            self.work.reload()
        except ServerNotFound:
            return False
        return moves.has_left(self.work)

    def succeeded(self) -> bool:
        """The other host has gone on."""
        return self._left_by_now() and (
            self.work.instance.get("task_state") != TaskState.RESIZE_MIGRATED
        )

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if self.past_return:
            self._strand(failure)
            return
        # What has left by an earlier message fails here, for its disks have another name.
        if self.is_stale(failure) or self._left_by_now():
            LOG.info("Migration %s of server %s is not this host's any more: %s",
                     self.migration["uuid"], work.uuid, failure.message)  # fmt: skip
            return
        if failure.nova_name in DELETED:
            self.let_go()
            self.end_migration()
            return
        self.give_back()
        moves.release_claim(work)
        self.tell(failure)
        self.end_migration()
        self.save_failed(task_state=None, **self._as_before(), **moves.forgotten(work))
        tools.usage_changed()

    def _as_before(self) -> dict[str, Any]:
        """What of the server is not as it was before the move."""
        work = self.work
        power = power_state(self.tools.hypervisor, work.uuid)
        fields: dict[str, Any] = {"power_state": int(power)}
        if work.instance.get("progress"):
            fields["progress"] = 0
        runs = work.instance.get("vm_state") == VmState.ACTIVE
        # What is left on the other host is no harm to the server.
        if work.left - {ReachTarget.name} or (runs and power != PowerState.RUNNING):
            fields["vm_state"] = VmState.ERROR
        return fields

    def _strand(self, failure: Failure) -> None:
        """Its disks and its record are the other host's, which cannot be told so: there it may be
        started, as after any other failure of that host."""
        self.let_go()
        self.tell(failure)
        self.end_migration()
        self.save_failed(vm_state=VmState.ERROR, task_state=None)
