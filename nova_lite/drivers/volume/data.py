"""What the volume drivers share: reading a connection's data without showing what is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import InvalidVolume
from nova_lite.model.volume import Connection

# auth_password, discovery_auth_password, keyring, serverPassword, host_key ...
_SECRET = re.compile(r"passw|secret(?!_(type|uuid))|keyring|token|_key$", re.IGNORECASE)


def need(connection: Connection, key: str) -> Any:
    """The value of ``key``.

    :raises InvalidVolume: there is none; the message names the key and no value
    """
    value = connection.data.get(key)
    if value in (None, ""):
        raise InvalidVolume(
            f"Invalid volume: the connection of {connection.type} volume {connection.volume_id} "
            f"lacks {key}; look at the log of its volume service, then attach it again"
        )
    return value


def hide(text: str, connection: Connection) -> str:
    """The text with every secret of the connection blotted out, such as one of a command line."""
    for value in _secrets(connection.data):
        text = text.replace(value, "***")
    return text


def secret(key: str) -> bool:
    """Whether what is under this key of a connection's data must not be shown or kept."""
    return _SECRET.search(key) is not None


def without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as it may be kept in a file."""
    return {
        key: without_secrets(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if not secret(key)
    }


def native_io(conf: Any) -> str | None:
    """The io mode of disks without a page cache in between; None leaves the choice to QEMU."""
    return None if conf.libvirt.use_default_aio_mode_for_volumes else "native"


def _secrets(data: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            found += _secrets(value)
        elif isinstance(value, str) and value and secret(key):
            found.append(value)
    return found
