"""Steps of the host that a server leaves for another cell.

Its files stay where they are, and its guest stays defined: nobody else gets to them. What the other
host needs is in an image, in volumes, and in ports that are bound to it.
"""

from __future__ import annotations

import logging

from nova_lite.errors import HypervisorError
from nova_lite.model.states import TaskState
from nova_lite.services import cell_moves, guest, moves
from nova_lite.services.abandoned import is_unfinished
from nova_lite.services.notes import CellMoveNotes
from nova_lite.services.power_state import is_on, power_state
from nova_lite.services.volumes import ensure_attached_beside, volume_mappings
from nova_lite.steps.base import Step
from nova_lite.steps.disk.snapshot import States
from nova_lite.steps.volume.attachments import disconnected
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# The task state shows nothing of the snapshot, as in stock.
MIGRATING = States(
    (TaskState.RESIZE_MIGRATING,), TaskState.RESIZE_MIGRATING, TaskState.RESIZE_MIGRATING
)


class BeginLeaving(Step):
    """Refuse a server that cannot leave; save that the move is on, if nobody has ended it."""

    name = "begin_leaving"

    def do(self) -> None:
        work, tools = self.work, self.tools
        with cell_moves.pre_check(work):
            guest.require_definable(work)
            cell_moves.refuse_unmovable(work)
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_MIGRATING],
            task_state=TaskState.RESIZE_MIGRATING,
        )
        tools.migrations.save(work.context, moves.migration(work), status="migrating")


class ReserveForReturn(Step):
    """Disconnect the volumes, and replace this host's attachments by ones without a connector: what
    the other host attaches has attachments of its own, which stay.

    The undo attaches them again.
    """

    name = "reserve_for_return"
    exclusive = True

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if not is_unfinished(mapping):
                self._reserve(mapping)

    def undo(self) -> None:
        work = self.work
        if not (moves.is_wanted(work) and work.here):
            return
        work.mappings = None
        for mapping in volume_mappings(work):
            if not is_unfinished(mapping):
                ensure_attached_beside(work, mapping)

    def _reserve(self, mapping: WireObject) -> None:
        work, cinder, volume_id = self.work, self.tools.cinder, str(mapping["volume_id"])
        with disconnected(work, mapping) as volume:
            if not volume:
                return
            before = str(mapping.get("attachment_id"))
            found = cinder.attachments(work.context, server_uuid=work.uuid, volume_id=volume_id)
            rows = {str(row["id"]): row["status"] for row in found}
            mine = set(rows) - self._others(volume_id, set(rows) - {before})
            reserved = sorted(key for key in mine if rows[key] == "reserved")
            kept = before if before in reserved else next(iter(reserved), None)
            if kept is None:
                kept = str(cinder.create_attachment(work.context, volume_id, work.uuid)["id"])
            if kept != before:
                # The connection_info stays: a stock host attaches only what has one.
                self.tools.block_devices.save(work.context, mapping, attachment_id=kept)
            for key in sorted(mine - {kept}):
                cinder.delete_attachment(work.context, key)

    def _others(self, volume_id: str, found: set[str]) -> set[str]:
        """The attachments that were there before this host made one: the other host's. Known after
        a restart, too, for then one of ours may be among those that are there."""
        noted = dict(CellMoveNotes.of(self.work.notes).other_attachments or {})
        if volume_id not in noted:
            noted[volume_id] = sorted(found)
            self.work.note(other_attachments=noted)
        return set(noted[volume_id])


class HandOverPorts(Step):
    """Let the ports be the other host's: activate its bindings, which nova-conductor has made.

    The undo activates this host's again.
    """

    name = "hand_over_ports"

    def do(self) -> None:
        self._activate(str(moves.migration(self.work)["dest_compute"]))

    def undo(self) -> None:
        self._activate(self.tools.host)

    def _activate(self, host: str) -> None:
        self.tools.ports.host_bindings.activate(self.work.context, self.work.uuid, host)


class RecordLetGo(Step):
    """Save that the other host may begin: a compare-and-swap, which fails when nova-conductor has
    given up meanwhile."""

    name = "record_let_go"

    def done(self) -> bool:
        moves.reload(self.work)
        return cell_moves.has_left(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        if is_on(tools.hypervisor, work.uuid):
            raise HypervisorError(f"the guest of server {work.uuid} runs; it cannot leave")
        tools.migrations.save(work.context, moves.migration(work), status="post-migrating")
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_MIGRATING],
            task_state=TaskState.RESIZE_MIGRATED,
            power_state=int(power_state(tools.hypervisor, work.uuid)),
        )
