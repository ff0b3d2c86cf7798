"""Steps that end a move to another cell: its user keeps the server there, or wants it back."""

from __future__ import annotations

import logging

from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError
from nova_lite.model.states import TaskState
from nova_lite.services import cell_moves, move_ends, moves
from nova_lite.services.volumes import volume_mappings
from nova_lite.steps.base import Step
from nova_lite.steps.move_back.finish import BindReturned, RecordReturned
from nova_lite.steps.volume.attachments import detach

LOG = logging.getLogger(__name__)


class DropAttachments(Step):
    """Delete the attachments that were kept for a way back; the server has others in its new cell.

    One that is in use, or that Cinder refuses to delete, is only logged.
    """

    name = "drop_attachments"

    def do(self) -> None:
        work, cinder = self.work, self.tools.cinder
        for mapping in volume_mappings(work):
            kept = mapping.get("attachment_id")
            if not kept:
                continue
            try:
                cinder.delete_attachment(work.context, str(kept))
            except ControlPlaneUnavailable:
                raise
            except NovaLiteError as error:
                LOG.error("Attachment %s of volume %s, which server %s had before its move to "
                          "another cell, is left: %s",
                          kept, mapping.get("volume_id"), work.uuid, error)  # fmt: skip


class DropBindings(Step):
    """Remove this host's bindings of the ports, which are bound to the other host."""

    name = "drop_bindings"

    def do(self) -> None:
        self.tools.ports.host_bindings.remove(
            self.work.context, self.work.uuid, self.tools.host
        )


class GiveBackPorts(Step):
    """Let the ports be the old host's again, and remove this host's bindings."""

    name = "give_back_ports"

    def do(self) -> None:
        work = self.work
        if not cell_moves.hand_back_ports(work):
            LOG.warning("Ports of server %s have no binding to host %s; it makes new ones",
                        work.uuid, move_ends.source(work))  # fmt: skip
        self.tools.ports.host_bindings.remove(work.context, work.uuid, self.tools.host)


class DetachOwnVolumes(Step):
    """Disconnect the volumes, and delete this host's attachments; the old host has its own."""

    name = "detach_own_volumes"

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if mapping.get("attachment_id"):
                detach(self.work, mapping)


class BindReturnedFromCell(BindReturned):
    """As BindReturned, but bindings to this host that exist are activated, unless the other host
    has done so."""

    name = "bind_returned_from_cell"

    def do(self) -> None:
        work = self.work
        self.tools.ports.host_bindings.activate(work.context, work.uuid, self.tools.host)
        super().do()


class RecordBack(RecordReturned):
    """As RecordReturned; the record of this cell has never said that the server was RESIZED."""

    name = "record_back"

    def done(self) -> bool:
        self.work.reload()
        waits = self.work.instance.get("task_state") == TaskState.RESIZE_REVERTING
        return not waits and super().done()


class RecordReverted(Step):
    """Record that the move is over: the server is as it was before."""

    name = "record_reverted"

    def do(self) -> None:
        work = self.work
        self.tools.migrations.save(
            work.context, moves.migration(work), status=move_ends.REVERTED
        )
