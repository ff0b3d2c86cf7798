"""What every verb needs of a server's volumes: the side of them that is on this host.

How a volume is reached stands in its block device mapping, where the host that attached it has put
it; nothing of it is noted in the journal. A mapping without it is of a volume that is reserved for
the server: it is being attached, or was given back by the host that the server has left.
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
    """How the volume of a mapping is reached.

    :raises InvalidVolume: nobody has connected it yet
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is None:
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} was never connected to a host; "
            "detach it and attach it again"
        )
    return connection


def attachment_of(mapping: WireObject) -> str:
    """Cinder's attachment of a mapping.

    :raises InvalidVolume: it has none
    """
    attachment_id = mapping.get("attachment_id")
    if not attachment_id:
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} has no attachment; it was attached "
            "by a Nova older than Queens, and only such a nova-compute can detach it"
        )
    return str(attachment_id)


def attach(work: Work, mapping: WireObject) -> None:
    """Have Cinder let this host at a volume that is reserved for the server, bring it within reach
    and keep how it is reached. Cinder is to hear afterwards that the attachment is complete."""
    tools, attachment_id = work.tools, attachment_of(mapping)
    volume = tools.cinder.volume(work.context, str(mapping["volume_id"]))
    check_zone(work, volume)
    with tools.volumes.guard(volume):
        attachment = tools.cinder.update_attachment(
            work.context, attachment_id, tools.connector.properties(), mapping["device_name"]
        )
        reach(work, mapping, volume, attachment)


def reach(
    work: Work,
    mapping: WireObject,
    volume: Mapping[str, Any],
    attachment: Mapping[str, Any],
    **more: Any,
) -> None:
    """Bring a volume within this host's reach as its attachment says, and keep how.

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
    :raises InvalidVolume: nova.conf wants volumes of the server's zone only; this is another's
    """
    zone = work.instance.get("availability_zone")
    if work.tools.conf.cinder.cross_az_attach or volume.get("availability_zone") == zone:
        return
    raise InvalidVolume(
        f"Invalid volume: server {work.uuid} and volume {volume['id']} are not in the same "
        f"availability_zone. Server is in {zone}. Volume is in {volume.get('availability_zone')}"
    )


def connect(work: Work, mapping: WireObject) -> None:
    """Bring a volume within this host's reach, and keep how it is reached if that is news."""
    connection = connection_of(mapping)
    data = dict(work.tools.volumes.of(connection).connect(connection, work.uuid))
    if data != dict(connection.data):
        text = connection_info.dump(connection_info.with_data(connection, data))
        work.tools.block_devices.save(work.context, mapping, connection_info=text)
    volume_keys.unlock(work, connection)


def disconnect(work: Work, mapping: WireObject, *, force: bool = False) -> None:
    """Take a volume out of this host's reach; one that never was in it is as it should be.

    :param force: the server goes for good: what this host has not written yet may be lost
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


def bring(work: Work, mapping: WireObject) -> None:
    """Have a volume within reach before a guest that has it starts: attach what is only reserved.

    What has no attachment yet is only now being attached; the guest gets it when that is done.
    """
    if mapping.get("connection_info"):
        connect(work, mapping)
    elif mapping.get("attachment_id"):
        attach(work, mapping)
        work.tools.cinder.complete_attachment(work.context, attachment_of(mapping))


def take(work: Work, mapping: WireObject) -> None:
    """Attach a volume that is the server's, unless Cinder says that this was done.

    :raises VolumeAttachmentNotFound: it is not the server's any more
    """
    attachment_id, cinder = mapping.get("attachment_id"), work.tools.cinder
    if attachment_id and cinder.attachment(work.context, attachment_id)["status"] != "attached":
        attach(work, mapping)
        cinder.complete_attachment(work.context, attachment_id)
    else:
        bring(work, mapping)
