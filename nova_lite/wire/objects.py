"""Versioned objects, kept losslessly as the primitives they arrived as.

An object is a dict with the keys ``nova_object.name``, ``.namespace``, ``.version``, ``.data`` and,
when something was changed, ``.changes``. Unknown fields and newer nested minor versions are kept as
they are, so that what is sent back is what was received plus our changes, in its own version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nova_lite.errors import MalformedMessage
from nova_lite.wire.versions import sendable

NAME = "nova_object.name"
NAMESPACE = "nova_object.namespace"
VERSION = "nova_object.version"
DATA = "nova_object.data"
CHANGES = "nova_object.changes"


class WireObject:
    """One Nova object. ``primitive`` is the live dict: reading is free, ``set`` records changes."""

    __slots__ = ("primitive",)

    def __init__(self, primitive: dict[str, Any]) -> None:
        if not isinstance(primitive.get(DATA), dict) or not isinstance(primitive.get(NAME), str):
            raise MalformedMessage(
                "not a Nova object: a message carries a dict without "
                f"{NAME!r} or {DATA!r}; check that the sender is a nova service"
            )
        self.primitive = primitive

    @classmethod
    def new(cls, name: str, version: str, /, **fields: Any) -> WireObject:
        """Make an object with all ``fields`` marked as changed."""
        obj = cls({NAME: name, NAMESPACE: "nova", VERSION: version, DATA: {}})
        obj.set(**fields)
        return obj

    @property
    def name(self) -> str:
        return str(self.primitive[NAME])

    @property
    def version(self) -> str:
        return str(self.primitive[VERSION])

    @property
    def data(self) -> dict[str, Any]:
        fields: dict[str, Any] = self.primitive[DATA]
        return fields

    @property
    def changes(self) -> list[str]:
        """Names of fields that differ from what the sender knows."""
        return list(self.primitive.get(CHANGES, ()))

    def __contains__(self, field: object) -> bool:
        return field in self.data

    def __getitem__(self, field: str) -> Any:
        if field not in self.data:
            raise MalformedMessage(
                f"{self.name} {self.version} arrived without its field {field!r}; "
                "the sender did not load it"
            )
        return wrap(self.data[field])

    def get(self, field: str, default: Any = None) -> Any:
        """Value of a field, nested objects wrapped; ``default`` when unset or null."""
        value = self.data.get(field)
        return default if value is None else wrap(value)

    def objects(self) -> Iterator[WireObject]:
        """Members of a list object (InstanceList, BlockDeviceMappingList ...)."""
        for member in self.data.get("objects") or ():
            yield WireObject(member)

    def set(self, **fields: Any) -> None:
        """Set fields and mark them as changed."""
        changes = self.primitive.setdefault(CHANGES, [])
        for field, value in fields.items():
            self.data[field] = unwrap(value)
            if field not in changes:
                changes.append(field)

    def clear_changes(self) -> None:
        self.primitive.pop(CHANGES, None)

    def apply(self, updates: Mapping[str, Any]) -> None:
        """Take over the field values that an ``object_action`` reply returned."""
        self.clear_changes()
        for field, value in updates.items():
            if field != "obj_what_changed":
                self.data[field] = unwrap(value)
        dirty = list(updates.get("obj_what_changed") or ())
        if dirty:
            self.primitive[CHANGES] = dirty

    def partial(self, key: str = "uuid") -> WireObject:
        """A copy with only the key and the changed fields: what a save needs to carry.

        Its version is one that every supported control plane knows.
        """
        wanted = {key, *self.changes}
        return WireObject(
            {
                NAME: self.name,
                NAMESPACE: self.primitive.get(NAMESPACE, "nova"),
                VERSION: sendable(self.name, self.version),
                DATA: {field: value for field, value in self.data.items() if field in wanted},
                CHANGES: self.changes,
            }
        )

    def __repr__(self) -> str:
        # Fields stay out: they may hold passwords and tokens.
        return f"<{self.name} {self.version} {self.data.get('uuid') or self.data.get('id') or ''}>"


def is_object(value: Any) -> bool:
    return isinstance(value, dict) and NAME in value


def wrap(value: Any) -> Any:
    """Wrap objects anywhere inside plain lists and dicts; other values stay as they are."""
    if is_object(value):
        return WireObject(value)
    if isinstance(value, list):
        return [wrap(item) for item in value]
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    return value


def unwrap(value: Any) -> Any:
    """The inverse of :func:`wrap`."""
    if isinstance(value, WireObject):
        return value.primitive
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value
