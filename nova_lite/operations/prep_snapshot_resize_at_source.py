"""prep_snapshot_based_resize_at_source: a server of this host leaves for another cell.

The guest is powered off and stays defined, its files stay in place; its root disk is uploaded into
the image that nova-conductor has made, unless it is a volume; volumes are reserved, and the ports
given to the other host. Both confirm and revert come from nova-conductor.

Resume rule: roll back, for nova-conductor does not wait for an answer that a dead process owes it.
Every step is undone, and the server is what it was, on or off, with a fault; the migration is in
``error``. The point of no return is the save with the task state RESIZE_MIGRATED: it fails when
nova-conductor has given up, which clears the task state.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import ServerNotFound
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import DELETED, MoveStage
from nova_lite.services import cell_moves, move_ends
from nova_lite.services.interfaces import remember_taps
from nova_lite.services.power_state import is_on, power_state
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.cells.leave import (
    MIGRATING,
    BeginLeaving,
    HandOverPorts,
    RecordLetGo,
    ReserveForReturn,
)
from nova_lite.steps.disk.direct_snapshot import extract_disk
from nova_lite.steps.disk.snapshot import UploadImage, discard_image
from nova_lite.steps.move.leave import PowerOffForMove, UnplugForMove
from nova_lite.steps.network.binding import remember_ports
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

BEFORE = ("pre-migrating", "migrating")


class PrepSnapshotResizeAtSource(MoveStage):
    event = "compute_prep_snapshot_based_resize_at_source"
    requires = {"migration": WireObject, "snapshot_id": str | None}
    answers = True
    notifies = "resize"
    milestone = BeginLeaving
    own_tasks = (TaskState.RESIZE_MIGRATING,)
    pool = "snapshots"

    def load(self) -> None:
        work = self.work
        if work.resumed and (self.past_return or self._has_left()):
            return
        cell_moves.refuse_resumed(work)
        cell_moves.require(work, TaskState.RESIZE_MIGRATING, *BEFORE)
        if not work.here:
            raise cell_moves.superseded(work, "the server is not on this host")
        remember_taps(work)
        remember_ports(work)

    def plan(self) -> Plan:
        work, image = self.work, self._image
        end: Plan = [
            NoWayBack("its record says that it has left", self._has_left),
            (ForgetConsoles(work),),
        ]
        if work.resumed and (self.past_return or cell_moves.has_left(work)):
            return end
        upload: Plan = []
        if image is not None:
            copy = extract_disk(work, image, MIGRATING)
            upload = [(copy,), (UploadImage(work, image, MIGRATING),)]
        return [
            (BeginLeaving(work),),
            (PowerOffForMove(work, gracefully=True),),
            *upload,
            (UnplugForMove(work),),
            (ReserveForReturn(work),),
            (HandOverPorts(work),),
            (RecordLetGo(work),),
            *end,
        ]

    def _has_left(self) -> bool:
        try:
            self.work.reload()
        except ServerNotFound:
            return False
        return cell_moves.has_left(self.work)

    def succeeded(self) -> bool:
        """The other host goes on with it."""
        return self._has_left()

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        if self.past_return or self.is_stale(failure):
            LOG.info("Migration %s of server %s is not this host's any more: %s",
                     self.migration["uuid"], work.uuid, failure.message)  # fmt: skip
            return
        if self._image is not None:
            discard_image(work, self._image)
        if failure.nova_name in DELETED:
            self.let_go()
            self.end_migration()
            return
        self.give_back()  # so does nova-conductor, unless it was stopped, too
        self.tell(failure)
        self.end_migration()
        self.save_failed(task_state=None, **self._as_before())
        tools.usage_changed()

    def _as_before(self) -> dict[str, Any]:
        """What of the server is not as it was before the move.

        One whose host has lost power is off, as all others there, and waits for the start of the
        host, or its user.
        """
        work, hypervisor = self.work, self.tools.hypervisor
        fields: dict[str, Any] = move_ends.ended(work)
        on, runs = is_on(hypervisor, work.uuid), work.instance.get("vm_state") == VmState.ACTIVE
        if work.left or (runs and not on and not work.rebooted):
            fields["vm_state"] = VmState.ERROR
        if on or not work.rebooted:
            fields["power_state"] = int(power_state(hypervisor, work.uuid))
        return fields

    @property
    def _image(self) -> str | None:
        found: str | None = self.work.arguments["snapshot_id"]
        return found
