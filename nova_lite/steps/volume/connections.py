"""The step that disconnects this host from one volume of a server."""

from __future__ import annotations

from nova_lite.errors import GuestIsHere
from nova_lite.services.power_state import is_on
from nova_lite.services.volumes import disconnect
from nova_lite.steps.base import Step
from nova_lite.steps.volume.attachments import detach


class RemoveConnection(Step):
    """Disconnect the volume, and delete its Cinder attachment if ``delete_attachment`` is true."""

    name = "remove_connection"

    def do(self) -> None:
        work, volume_id = self.work, str(self.work.arguments["volume_id"])
        mapping = self.tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            return
        if is_on(self.tools.hypervisor, work.uuid):
            raise GuestIsHere(
                f"the guest of server {work.uuid} is on host {self.tools.host} and keeps its "
                f"volume {volume_id}"
            )
        if work.arguments.get("delete_attachment"):
            detach(work, mapping)
        else:
            disconnect(work, mapping)
