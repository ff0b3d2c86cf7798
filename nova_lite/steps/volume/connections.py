"""Steps that connect this host to a server's volumes, by the connection_info of their mappings."""

from __future__ import annotations

from nova_lite.services.volumes import (
    disconnect,
    ensure_attached,
    ensure_connected,
    volume_mappings,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.volume.attachments import detach


class ConnectVolumes(Step):
    """Connect all volumes of the server before its guest is started."""

    name = "connect_volumes"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._again = False

    def done(self) -> bool:
        self._again = True  # what was cut off may not have told Cinder of its end
        return False

    def do(self) -> None:
        connect_one = ensure_attached if self._again else ensure_connected
        for mapping in volume_mappings(self.work):
            connect_one(self.work, mapping)


class RemoveConnection(Step):
    """Disconnect the volume, and delete its Cinder attachment if ``delete_attachment`` is true."""

    name = "remove_connection"

    def do(self) -> None:
        work, volume_id = self.work, str(self.work.arguments["volume_id"])
        mapping = self.tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            return
        if work.arguments.get("delete_attachment"):
            detach(work, mapping)
        else:
            disconnect(work, mapping)
