"""Steps that part a deleted server from its volumes."""

from __future__ import annotations

import logging

from nova_lite.errors import ControlPlaneUnavailable, InvalidVolume, NovaLiteError
from nova_lite.services.volumes import disconnect, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class ReleaseVolumes(Step):
    """Let go of the volumes of a server whose guest is gone; delete those that end with it."""

    name = "release_volumes"

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            try:
                disconnect(self.work, mapping, force=True)
            except InvalidVolume as error:
                # Nobody here can have connected it, and the server must not stay because of it.
                LOG.warning("Nothing is known of how server %s reaches volume %s: %s",
                            self.work.uuid, mapping.get("volume_id"), error)  # fmt: skip
            release(self.work, mapping)


def release(work: Work, mapping: WireObject) -> None:
    """Delete a volume's attachment, and the volume itself if it ends with its server.

    A server can be deleted though Cinder refuses to let go of its volume: that is only logged.
    A mapping that was deleted before, with its server or when the volume was detached, does not
    say any more that the volume ends.

    :raises ControlPlaneUnavailable: Cinder does not answer
    """
    cinder, volume_id = work.tools.cinder, mapping.get("volume_id")
    if not volume_id:
        return
    try:
        for attachment_id in attachment_ids(work, mapping):
            cinder.delete_attachment(work.context, attachment_id)
        if mapping.get("delete_on_termination") and not mapping.get("deleted"):
            cinder.delete_volume(work.context, volume_id)
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.warning("Failed to release volume %s of server %s: %s", volume_id, work.uuid, error)


def attachment_ids(work: Work, mapping: WireObject) -> list[str]:
    """The server's attachments of a mapping's volume: the one recorded, else what Cinder knows."""
    if mapping.get("attachment_id"):
        return [mapping["attachment_id"]]
    # The build was cut off before it was recorded.
    found = work.tools.cinder.attachments(
        work.context, server_uuid=work.uuid, volume_id=mapping["volume_id"]
    )
    return [attachment["id"] for attachment in found]
