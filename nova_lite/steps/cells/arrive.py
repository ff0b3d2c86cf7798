"""Steps of the host that gets a server from another cell: as of one that is built, with the disk of
a snapshot, and volumes and ports that two hosts have for a while."""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import MigrationError, NovaLiteError
from nova_lite.model.volume import Connection
from nova_lite.services import cell_moves, guest
from nova_lite.services.cell_arrivals import CellArrivals
from nova_lite.services.volumes import ensure_attached_beside, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.move.arrive import TakeFlavor
from nova_lite.steps.network.binding import BindPorts
from nova_lite.steps.records.server import moved_here
from nova_lite.steps.records.shelving import delete_image
from nova_lite.steps.volume.attachments import detach
from nova_lite.steps.volume.moves import boots_from_volume

LOG = logging.getLogger(__name__)


class TakeFromCell(TakeFlavor):
    """As TakeFlavor, and save this host as the server's: in this cell no other one has it."""

    name = "take_from_cell"

    def do(self) -> None:
        if self.work.snapshot is None and not boots_from_volume(self.work):
            raise MigrationError(
                f"server {self.work.uuid} does not boot from a volume, and no image of its disk "
                "came from the other cell"
            )
        super().do()

    def fields(self) -> dict[str, Any]:
        return moved_here(self.work)


class TakePortsFromCell(BindPorts):
    """As BindPorts, but bindings to this host that exist are activated, unless the other host has
    done so.

    The undo gives them back; what is left for this host nova-conductor removes.
    """

    name = "take_ports_from_cell"

    def do(self) -> None:
        work = self.work
        self.tools.ports.host_bindings.activate(work.context, work.uuid, self.tools.host)
        super().do()

    def undo(self) -> None:
        if not cell_moves.hand_back_ports(self.work):
            super().undo()


class AttachOwnVolumes(Step):
    """Attach the volumes by the attachments that nova-conductor has made for this host.

    The undo deletes those, and no others: the other host has its own.
    """

    name = "attach_own_volumes"
    exclusive = True

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if not mapping.get("device_name"):
                devices = guest.disk_plan(self.work).bdm_updates
                mapping.set(**devices[str(mapping["uuid"])])
            ensure_attached_beside(self.work, mapping)

    def undo(self) -> None:
        work = self.work
        known = [] if work.mappings is None else volume_mappings(work)
        work.mappings = None
        # The records may be deleted by now, but what this process has connected is here.
        for mapping in volume_mappings(work) or known:
            if mapping.get("attachment_id"):
                detach(work, mapping)


class NoteArrival(Step):
    """Note that the server is here until nova-conductor takes it over; before it may run."""

    name = "note_arrival"

    def do(self) -> None:
        CellArrivals(self.tools).note(self.work)

    def undo(self) -> None:
        CellArrivals(self.tools).forget(self.work.uuid)


class ForgetArrival(Step):
    """Nothing of the server is left here."""

    name = "forget_arrival"

    def do(self) -> None:
        CellArrivals(self.tools).forget(self.work.uuid)


class DisconnectLost(Step):
    """Disconnect the volumes of a server without records; what cannot be told is logged."""

    name = "disconnect_lost"

    def do(self) -> None:
        work = self.work
        for volume_id, kind in work.arguments["volumes"].items():
            connection = Connection(kind, volume_id, {})
            try:
                driver = self.tools.volumes.of(connection)
                own = driver.on_this_host(connection, work.uuid)
                driver.disconnect(own, work.uuid, force=True)
            except NovaLiteError as error:
                LOG.error("Volume %s of server %s, which has no record in this cell any more, may "
                          "still be connected to this host: %s",
                          volume_id, work.uuid, error)  # fmt: skip


class DeleteSnapshot(Step):
    """Delete the image that the root disk was made from; a failure is only logged."""

    name = "delete_snapshot"

    def __init__(self, work: Work, image_id: str) -> None:
        super().__init__(work)
        self._image_id = image_id

    def do(self) -> None:
        delete_image(self.work, self._image_id)
