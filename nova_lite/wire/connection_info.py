"""BlockDeviceMapping.connection_info: the JSON in which Nova keeps how a host reaches a volume.

Cinder answers flat (``driver_volume_type``, ``access_mode`` ...: attachments API 3.44); Nova keeps
what belongs to the driver under ``data``. Stock agents read what is written here, and this agent
what they wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nova_lite.errors import InvalidVolume
from nova_lite.model.volume import Connection

# Beside ``data``: what Nova itself has put there.
_OURS = ("driver_volume_type", "data", "serial", "multiattach")


def from_cinder(attachment: Mapping[str, Any], volume_id: str, multiattach: bool) -> Connection:
    """The connection that Cinder's answer to an attachment request describes.

    :param attachment: the ``attachment`` of the answer
    :raises InvalidVolume: it tells of no connection
    """
    flat = dict(attachment.get("connection_info") or {})
    kind = flat.pop("driver_volume_type", None)
    if not kind:
        raise InvalidVolume(
            f"Invalid volume: Cinder's attachment {attachment.get('id')} of volume {volume_id} "
            "tells of no connection; look at its volume service's log, then detach the volume"
        )
    extra = {
        "status": attachment.get("status"),
        "instance": attachment.get("instance"),
        "attached_at": attachment.get("attached_at") or "",
        "detached_at": attachment.get("detached_at") or "",
        "volume_id": volume_id,
    }
    return Connection(str(kind), volume_id, flat, multiattach, extra)


def dump(connection: Connection) -> str:
    """The text to keep."""
    return json.dumps(
        {
            **connection.extra,
            "driver_volume_type": connection.type,
            "data": dict(connection.data),
            "serial": connection.volume_id,
            **({"multiattach": True} if connection.multiattach else {}),
        }
    )


def load(text: str | None, volume_id: str | None) -> Connection | None:
    """What is kept; None where nothing is: the volume was never connected.

    :raises InvalidVolume: the text is not what Nova keeps
    """
    if not text:
        return None
    try:
        kept = json.loads(text)
        if kept is None or not kept.get("driver_volume_type"):
            return None
        extra = {name: value for name, value in kept.items() if name not in _OURS}
        return Connection(
            type=str(kept["driver_volume_type"]),
            volume_id=str(volume_id or kept.get("serial") or kept.get("volume_id")),
            data=dict(kept.get("data") or {}),
            multiattach=bool(kept.get("multiattach")),
            extra=extra,
        )
    except (ValueError, TypeError, AttributeError):
        raise InvalidVolume(
            f"Invalid volume: the connection that Nova keeps of volume {volume_id} is not what an "
            "agent writes; detach the volume and attach it again"
        ) from None


def with_data(connection: Connection, data: Mapping[str, Any]) -> Connection:
    """The connection with what its volume driver wants to be kept."""
    return replace(connection, data=dict(data))


def left_out(value: Any) -> Any:
    """A copy of JSON-able data in which no mapping tells how its volume is reached."""
    if isinstance(value, dict):
        return {key: left_out(item) for key, item in value.items() if key != "connection_info"}
    if isinstance(value, list):
        return [left_out(item) for item in value]
    return value
