"""Which values of a request are secrets, and a request without them.

A secret is known by its name and its place: as a field of the context, an argument, or a field of
an object. What users name themselves (metadata, properties) is not searched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# The user's token; passwords and files for a guest; how a share, a volume or a cell is reached.
NAMES = frozenset(
    {
        "auth_token",
        "admin_password",
        "new_pass",
        "rescue_password",
        "injected_files",
        "user_data",
        "access_key",
        "connection_info",
        "connection_info_json",
        "vtpm_secret_value",
        "transport_url",
        "database_connection",
    }
)
# Of a CellMapping, which travels in a RequestSpec, and of a LibvirtLiveMigrateBDMInfo: nova reads
# no null there, so that they are left out instead.
_NEVER_NULL = frozenset({"transport_url", "database_connection", "connection_info_json"})
_OBJECT = "nova_object.data"

Path = tuple[str | int, ...]
# Where each secret was, and the secret.
Secrets = list[tuple[Path, Any]]


def taken_out(intent: dict[str, Any]) -> tuple[dict[str, Any], Secrets]:
    """A copy of what is promised in which each secret is null or left out, and the secrets.

    :param intent: JSON-able; ``context`` and ``arguments`` are looked at
    """
    found: Secrets = []
    copy = {
        name: _without(value, (name,), name in ("context", "arguments"), found)
        for name, value in intent.items()
    }
    return copy, found


def put_back(intent: dict[str, Any], secrets: Iterable[tuple[Path, Any]]) -> None:
    """Undo :func:`taken_out`, in place.

    :raises KeyError, IndexError, TypeError: the secrets are those of something else
    """
    for path, value in secrets:
        place: Any = intent
        for step in path[:-1]:
            place = place[step]
        left_out = path[-1] in _NEVER_NULL and path[-1] not in place
        if not left_out and place[path[-1]] is not None:
            raise KeyError(path[-1])
        place[path[-1]] = value


def without(value: Any) -> Any:
    """A copy of JSON-able data in which the secrets of objects are null or left out."""
    return _without(value, (), False, [])


def names(secrets: Secrets) -> frozenset[str]:
    """What they are, without the secrets themselves."""
    return frozenset(str(path[-1]) for path, _ in secrets)


def _without(value: Any, path: Path, named: bool, found: Secrets) -> Any:
    """:param named: whether keys of ``value`` may be names of secrets"""
    if isinstance(value, dict):
        copy: dict[str, Any] = {}
        for key, item in value.items():
            here = (*path, key)
            if named and key in NAMES and item:
                found.append((here, item))
                if key not in _NEVER_NULL:
                    copy[key] = None
            else:
                copy[key] = _without(item, here, key == _OBJECT, found)
        return copy
    if isinstance(value, list):
        return [_without(item, (*path, i), False, found) for i, item in enumerate(value)]
    return value
