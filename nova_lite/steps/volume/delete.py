"""Steps that disconnect and detach the volumes of a deleted server."""

from __future__ import annotations

import logging

from nova_lite.errors import ControlPlaneUnavailable, InvalidVolume, NovaLiteError
from nova_lite.services.volumes import disconnect, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class ReleaseVolumes(Step):
    """Detach the volumes of a removed guest; delete those with delete_on_termination."""

    name = "release_volumes"

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            try:
                disconnect(self.work, mapping, force=True)
            except InvalidVolume as error:
                # Nobody here can have connected it, and the server must not stay because of it.
                LOG.warning("Nothing is known of how server %s reaches volume %s: %s",
                            self.work.uuid, mapping.get("volume_id"), error)  # fmt: skip
            delete_attachments(self.work, mapping)


def delete_attachments(work: Work, mapping: WireObject) -> None:
    """Delete a volume's attachments, and the volume itself if it has delete_on_termination.

    Where Cinder refuses, the server is deleted all the same and that is only logged. The
    delete_on_termination of a mapping that was deleted before does not count any more.

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
    """The attachment_id of a mapping, or else the server's attachments of that volume in Cinder."""
    if mapping.get("attachment_id"):
        return [mapping["attachment_id"]]
    # The build was cut off before it was recorded.
    found = work.tools.cinder.attachments(
        work.context, server_uuid=work.uuid, volume_id=mapping["volume_id"]
    )
    return [attachment["id"] for attachment in found]
