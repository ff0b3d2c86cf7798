"""What every verb needs of a server's volumes: the side of them that is on this host.

How a volume is reached stands in its block device mapping, where the host that attached it has put
it; nothing of it is noted in the journal. A mapping without it is of a volume that is reserved for
the server: it is being attached, or was given back by the host that the server has left.
"""

from __future__ import annotations

from nova_lite.services.volumes import bring, disconnect, take, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.volume.attachments import release


class ConnectVolumes(Step):
    """Have all volumes of the server within reach before its guest is started."""

    name = "connect_volumes"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._again = False

    def done(self) -> bool:
        self._again = True  # what was cut off may not have told Cinder of its end
        return False

    def do(self) -> None:
        connect_one = take if self._again else bring
        for mapping in volume_mappings(self.work):
            connect_one(self.work, mapping)


class RemoveConnection(Step):
    """Disconnect the volume, and delete its attachment where that is asked for."""

    name = "remove_connection"

    def do(self) -> None:
        work, volume_id = self.work, str(self.work.arguments["volume_id"])
        mapping = self.tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            return
        if work.arguments.get("delete_attachment"):
            release(work, mapping)
        else:
            disconnect(work, mapping)
