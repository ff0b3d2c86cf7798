"""The volumes of a server that moves while it runs: attached to both hosts for a while.

The other host makes an attachment of its own, and saves that and how it reaches the volume in the
block device mapping. This host's attachments are noted by their ids; how they reach the volumes
Cinder says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError, VolumeAttachmentNotFound
from nova_lite.services import live_moves
from nova_lite.services.notes import LiveNotes
from nova_lite.services.volumes import connect_attachment, disconnect_own, volume_mappings
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


def note_attachments(work: Work) -> None:
    """Note the attachments of this host, once, before the other one makes its own."""
    if LiveNotes.of(work.notes).live_attachments is None:
        found = {
            str(mapping["uuid"]): str(mapping["attachment_id"])
            for mapping in volume_mappings(work)
            if mapping.get("attachment_id")
        }
        work.note(live_attachments=found)


def take_back(work: Work) -> None:
    """Disconnect the volumes from the other host, and let the mappings describe how this one
    reaches them. Each is tried, whatever becomes of the others."""
    work.mappings = None  # the other host may have saved what it has, and died
    _each(work, _take_back)


def _take_back(work: Work, mapping: WireObject, own: str) -> None:
    tools, volume_id = work.tools, str(mapping["volume_id"])
    if mapping.get("attachment_id") != own:
        _disconnect_there(work, volume_id)
        attachment = tools.cinder.attachment(work.context, own)
        volume = tools.cinder.volume(work.context, volume_id)
        with tools.volumes.guard(volume):
            connect_attachment(work, mapping, volume, attachment, attachment_id=own)
    # Also one that the other host has made and could not record any more.
    for row in tools.cinder.attachments(work.context, server_uuid=work.uuid, volume_id=volume_id):
        if row["id"] != own:
            tools.cinder.delete_attachment(work.context, str(row["id"]))


def _disconnect_there(work: Work, volume_id: str) -> None:
    """By the mapping, which still says how the other host reaches the volume."""
    host = live_moves.target(work)
    try:
        work.tools.peers.call(
            work.context, host, "remove_volume_connection",
            instance=work.instance, volume_id=volume_id, delete_attachment=False,
        )  # fmt: skip
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.warning("Host %s may still be connected to volume %s: %s", host, volume_id, error)


def let_go(work: Work) -> None:
    """Disconnect this host from the volumes of a server that has left it, and delete this host's
    attachments; each is tried, whatever becomes of the others."""
    _each(work, _let_go)


def _let_go(work: Work, mapping: WireObject, own: str) -> None:
    tools = work.tools
    volume = tools.cinder.volume(work.context, str(mapping["volume_id"]))
    with tools.volumes.guard(volume):
        disconnect_own(work, mapping)
        if mapping.get("attachment_id") != own:  # else it is all that the volume has
            tools.cinder.delete_attachment(work.context, own)


def _each(work: Work, action: Callable[[Work, WireObject, str], object]) -> None:
    """Do it to each volume that this host has an attachment of; one that came later has none."""
    attachments = LiveNotes.of(work.notes).live_attachments or {}
    for mapping in volume_mappings(work) if attachments else ():
        own = attachments.get(str(mapping["uuid"]))
        if own is not None:
            _try(work, mapping, partial(action, work, mapping, own))


def _try(work: Work, mapping: WireObject, action: Callable[[], object]) -> None:
    try:
        action()
    except ControlPlaneUnavailable:
        raise
    except VolumeAttachmentNotFound as error:
        LOG.error("Volume %s of server %s is not attached any more: %s",
                  mapping["volume_id"], work.uuid, error)  # fmt: skip
    except NovaLiteError as error:
        LOG.error("Volume %s of server %s: %s", mapping["volume_id"], work.uuid, error)
