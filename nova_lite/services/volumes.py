"""A server's volumes on this host: attach, connect and disconnect, by their connection_info.

The host that attaches a volume saves the connection_info in the block device mapping; it is not
noted in the journal. A mapping without connection_info belongs to a volume that is only reserved
for the server: it is being attached, or the server has left its host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import InvalidVolume
from nova_lite.model.volume import Connection
from nova_lite.services import guest, volume_keys
from nova_lite.services.work import Work
from nova_lite.wire import connection_info
from nova_lite.wire.objects import WireObject


def volume_mappings(work: Work) -> list[WireObject]:
    """The block device mappings of the server's volumes."""
    return [
        mapping
        for mapping in guest.mappings(work)
        if mapping["destination_type"] == "volume" and not mapping.get("no_device")
    ]


def connection_of(mapping: WireObject) -> Connection:
    """The connection_info of a mapping.

    :raises InvalidVolume: it has none, for the volume was never connected
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is None:
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} was never connected to a host; "
            "detach it and attach it again"
        )
    return connection


def attachment_of(mapping: WireObject) -> str:
    """The id of a mapping's Cinder attachment.

    :raises InvalidVolume: it has none, for it was attached through the pre-Queens API, or is not
        attached yet
    """
    attachment_id = mapping.get("attachment_id")
    if not attachment_id and not mapping.get("connection_info"):
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} was not attached to the server: "
            "nova has not recorded its attachment; try again when its attach is over"
        )
    if not attachment_id:
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} has no attachment; it was attached "
            "by a Nova older than Queens, and only such a nova-compute can detach it"
        )
    return str(attachment_id)


def is_attached(work: Work, mapping: WireObject) -> bool:
    """Whether Cinder has the volume attached in the way that the mapping keeps."""
    if not mapping.get("attachment_id") or not mapping.get("connection_info"):
        return False
    attachment = work.tools.cinder.attachment(work.context, str(mapping["attachment_id"]))
    return bool(attachment.get("status") == "attached")


def attach(work: Work, mapping: WireObject) -> None:
    """Attach a reserved volume: update its Cinder attachment with this host's connector, connect it
    and save the connection_info. The caller completes the attachment afterwards."""
    tools, attachment_id = work.tools, attachment_of(mapping)
    volume = tools.cinder.volume(work.context, str(mapping["volume_id"]))
    check_zone(work, volume)
    with tools.volumes.guard(volume):
        attachment = tools.cinder.update_attachment(
            work.context, attachment_id, tools.connector.properties(), mapping["device_name"]
        )
        connect_attachment(work, mapping, volume, attachment)


def connect_attachment(
    work: Work,
    mapping: WireObject,
    volume: Mapping[str, Any],
    attachment: Mapping[str, Any],
    **more: Any,
) -> None:
    """Connect a volume by its Cinder attachment, and save the connection_info in its mapping.

    :param volume: Cinder's description of the volume
    :param more: fields of the mapping that are to be saved at the same time
    """
    tools, volume_id = work.tools, str(mapping["volume_id"])
    connection = connection_info.from_cinder(
        attachment, volume_id, bool(volume.get("multiattach"))
    )
    data = tools.volumes.of(connection).connect(connection, work.uuid)
    kept = connection_info.with_data(connection, data)
    tools.block_devices.save(
        work.context,
        mapping,
        connection_info=connection_info.dump(kept),
        volume_size=mapping.get("volume_size") or volume["size"],
        **more,
    )
    volume_keys.unlock(work, kept)


def check_zone(work: Work, volume: Mapping[str, Any]) -> None:
    """
    :raises InvalidVolume: [cinder]cross_az_attach is off, and the volume is in another zone
    """
    zone = work.instance.get("availability_zone")
    if work.tools.conf.cinder.cross_az_attach or volume.get("availability_zone") == zone:
        return
    raise InvalidVolume(
        f"Invalid volume: server {work.uuid} and volume {volume['id']} are not in the same "
        f"availability_zone. Server is in {zone}. Volume is in {volume.get('availability_zone')}"
    )


def connect(work: Work, mapping: WireObject) -> None:
    """Connect a volume by its connection_info, and save that if connecting has changed it."""
    connection = connection_of(mapping)
    data = dict(work.tools.volumes.of(connection).connect(connection, work.uuid))
    if data != dict(connection.data):
        text = connection_info.dump(connection_info.with_data(connection, data))
        work.tools.block_devices.save(work.context, mapping, connection_info=text)
    volume_keys.unlock(work, connection)


def disconnect(work: Work, mapping: WireObject, *, force: bool = False) -> None:
    """Disconnect a volume from this host; one that was never connected is success.

    :param force: the server is deleted: data that this host has not flushed may be lost
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is not None:
        work.tools.volumes.of(connection).disconnect(connection, work.uuid, force)
        volume_keys.forget(work, connection)


def disconnect_own(work: Work, mapping: WireObject) -> None:
    """Disconnect a volume from this host though the mapping is of a host that has it by now.

    What was not written yet is lost: the other host may have changed the volume since.
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is not None:
        driver = work.tools.volumes.of(connection)
        own = driver.on_this_host(connection, work.uuid)
        driver.disconnect(own, work.uuid, force=True)
        volume_keys.forget(work, own)


def ensure_connected(work: Work, mapping: WireObject) -> None:
    """Connect a volume before its guest starts; attach one that is only reserved.

    A mapping without an attachment is skipped: attach_volume is still at work on it.
    """
    if mapping.get("connection_info"):
        connect(work, mapping)
    elif mapping.get("attachment_id"):
        attach(work, mapping)
        work.tools.cinder.complete_attachment(work.context, attachment_of(mapping))


def ensure_attached(work: Work, mapping: WireObject) -> None:
    """Connect a volume, after attaching it unless its Cinder attachment is complete.

    :raises VolumeAttachmentNotFound: the attachment was deleted in Cinder
    """
    attachment_id, cinder = mapping.get("attachment_id"), work.tools.cinder
    if attachment_id and cinder.attachment(work.context, attachment_id)["status"] != "attached":
        attach(work, mapping)
        cinder.complete_attachment(work.context, attachment_id)
    else:
        ensure_connected(work, mapping)


def ensure_attached_beside(work: Work, mapping: WireObject) -> None:
    """As :func:`ensure_attached`, for a volume of which another host keeps an attachment, too.

    Cinder refuses to update an attachment twice then (``attachment_update``, cinder/volume/api.py:
    "duplicate connectors"): what an earlier attempt was told is read instead.

    :raises VolumeAttachmentNotFound: the attachment was deleted in Cinder
    """
    cinder, attachment_id = work.tools.cinder, attachment_of(mapping)
    attachment = cinder.attachment(work.context, attachment_id)
    if attachment["status"] == "attached" or not attachment.get("connection_info"):
        ensure_attached(work, mapping)
        return
    volume = cinder.volume(work.context, str(mapping["volume_id"]))
    with work.tools.volumes.guard(volume):
        connect_attachment(work, mapping, volume, attachment)
    cinder.complete_attachment(work.context, attachment_id)
