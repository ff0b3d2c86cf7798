"""Block device mappings of attaches that nobody goes on with.

nova-api (nova-conductor since 2026.1) asks the host for the mapping, then reserves the volume in
Cinder and records the attachment in the mapping. Where it has given up waiting for the host, or has
ended in between, a mapping without an attachment is left, and nova-api lets nobody attach the
volume any more.
"""

from __future__ import annotations

import datetime
import logging

from nova_lite.clients.cinder import Cinder
from nova_lite.conductor.records import BlockDevices
from nova_lite.errors import NovaLiteError, VolumeNotFound
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# After so long nobody is between the mapping and its attachment any more, clocks that differ
# included: both ask Cinder once, each for a minute or two at most.
PATIENCE = datetime.timedelta(minutes=10)
# States of a volume that somebody reserves for a server, or attaches to one.
ON_ITS_WAY = frozenset({"reserved", "attaching"})


def is_unfinished(mapping: WireObject) -> bool:
    """Whether a volume's mapping was never given an attachment: it is being made, or abandoned."""
    return (
        mapping.get("source_type") == "volume"
        and mapping.get("destination_type") == "volume"
        and mapping.get("boot_index") is None
        and not mapping.get("no_device")
        and bool(mapping.get("volume_id"))
        and not mapping.get("attachment_id")
        and not mapping.get("connection_info")
    )


def is_abandoned(cinder: Cinder, context: RequestContext, mapping: WireObject) -> bool:
    """Whether nobody goes on with a mapping. Asks Cinder only where the mapping looks like that.

    :raises NovaLiteError: Cinder does not tell
    """
    if not is_unfinished(mapping) or not _is_old(mapping):
        return False
    try:
        volume = cinder.volume(context, str(mapping["volume_id"]))
    except VolumeNotFound:
        return True
    servers = {row.get("server_id") for row in volume.get("attachments", ())}
    return volume["status"] not in ON_ITS_WAY and mapping["instance_uuid"] not in servers


def removed(
    cinder: Cinder, block_devices: BlockDevices, context: RequestContext, mapping: WireObject
) -> bool:
    """Remove a mapping if it is abandoned; one of which Cinder does not tell stays.

    :return: whether it was
    """
    server, volume = mapping.get("instance_uuid"), mapping.get("volume_id")
    try:
        if not is_abandoned(cinder, context, mapping):
            return False
    except NovaLiteError as error:
        LOG.warning("Whether volume %s is to be attached to server %s cannot be told: %s",
                    volume, server, error)  # fmt: skip
        return False
    LOG.warning("Server %s has a mapping of volume %s that was never attached; removing it",
                server, volume)  # fmt: skip
    block_devices.destroy(context, mapping)
    return True


def without_abandoned(work: Work, mappings: list[WireObject]) -> list[WireObject]:
    """The mappings of a server of this host but for abandoned ones, which are removed."""
    if not work.here:
        return mappings
    tools, context = work.tools, work.context
    return [
        mapping
        for mapping in mappings
        if not removed(tools.cinder, tools.block_devices, context, mapping)
    ]


def _is_old(mapping: WireObject) -> bool:
    try:
        then = datetime.datetime.fromisoformat(str(mapping.get("created_at")))
    except ValueError:
        return False
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return datetime.datetime.now(datetime.UTC) - then > PATIENCE
