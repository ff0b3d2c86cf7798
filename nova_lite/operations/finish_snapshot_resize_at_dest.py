"""finish_snapshot_based_resize_at_dest: a server from another cell is built on this host.

Its root disk is made from the snapshot that the other host has uploaded, unless it is a volume;
ephemeral and swap disks are empty, as after an unshelve. Then it waits, RESIZED, for its user to
confirm or revert; the other host keeps what it had.

Resume rule: roll back, for nova-conductor does not wait for an answer that a dead process owes it,
and neither for one that comes too late: it gives up, and leaves the server on its old host. So
every step is undone, ports are the other host's again, and the server is in ERROR. A server that is
recorded as RESIZED stays if nova-conductor has taken it over (``cell_moves.is_kept``).
"""

from __future__ import annotations

import logging

from nova_lite.errors import AnswerLost, MoveSuperseded
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import DELETED, MoveStage
from nova_lite.services import cell_moves, moves
from nova_lite.services.work import Work
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.cells.arrive import (
    AttachOwnVolumes,
    DeleteSnapshot,
    NoteArrival,
    TakeFromCell,
    TakePortsFromCell,
)
from nova_lite.steps.disk.files import FetchImages, MakeConfigDrive, MakeDisks
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.move.arrive import RecordResized, RecordSwap, SyncTime, WaitForMovedPorts
from nova_lite.steps.network.ports import PlugInterfaces
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

BEFORE = ("pre-migrating", "migrating", "post-migrating")  # the records of cells are not the same


class FinishSnapshotResizeAtDest(MoveStage):
    event = "compute_finish_snapshot_based_resize_at_dest"
    requires = {"migration": WireObject, "snapshot_id": str | None}
    answers = True
    rolls_back_unanswered = True
    notifies = "resize_finish"
    notifies_mappings = True
    milestone = TakeFromCell
    own_tasks = (TaskState.RESIZE_MIGRATED, TaskState.RESIZE_FINISH)
    pool = "builds"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._kept: bool | None = None

    def load(self) -> None:
        work = self.work
        self.tools.events.watch(work.uuid)
        if work.resumed:
            work.reload()
            if not cell_moves.is_finished(work):
                cell_moves.refuse_resumed(work)
            if not self._is_kept():
                raise AnswerLost(f"nova-conductor has taken back the move of server {work.uuid}")
            return
        cell_moves.require(work, TaskState.RESIZE_MIGRATED, *BEFORE)
        if not moves.comes_here(work):
            raise cell_moves.superseded(work, "it leads to another host")
        image = work.arguments["snapshot_id"]
        if image is not None:
            work.snapshot = self.tools.images.show(work.context, image)

    def plan(self) -> Plan:
        work, image = self.work, self.work.arguments["snapshot_id"]
        runs = moves.ran_before(work)
        start: Plan = [(StartGuest(work),), (WaitForMovedPorts(work),), (SyncTime(work),)]
        return [
            (TakeFromCell(work),),
            (RecordSwap(work),),
            (FetchImages(work), TakePortsFromCell(work), AttachOwnVolumes(work)),
            (MakeDisks(work), PlugInterfaces(work)),
            (NoteArrival(work),),
            (DefineGuest(work),),
            (MakeConfigDrive(work), DescribeDevices(work)),
            *(start if runs else ()),
            (RecordResized(work, runs=runs),),
            *([(DeleteSnapshot(work, image),)] if image is not None else ()),
            NoWayBack("nova-conductor goes on with it", self._is_kept),
        ]

    def _is_kept(self) -> bool:
        self._kept = cell_moves.is_kept(self.work)
        return self._kept

    def succeeded(self) -> bool:
        """What nova-conductor has taken over is not given back."""
        return self._is_kept() if self._kept is None else self._kept

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if failure.nova_name == MoveSuperseded.nova_name:
            LOG.info("Server %s is not to be built here: %s", work.uuid, failure.message)
            return
        self._let_go_of_it()
        if failure.nova_name in DELETED or self.is_stale(failure):
            LOG.info("Server %s does not come from another cell: %s", work.uuid, failure.message)
            return
        self.tell(failure)
        self.end_migration()
        fields = {} if work.left else cell_moves.given_back(work)
        self.save_failed(vm_state=VmState.ERROR, task_state=None, **fields)

    def _let_go_of_it(self) -> None:
        """Nothing of it is left here, unless a step could not be taken back. The old host has let
        go of the ports before this one began: without them the server could not go on there."""
        if self.work.left:
            return
        cell_moves.hand_back_ports(self.work)
        self.tools.claims.release(self.work.uuid)
        self.tools.usage_changed()
