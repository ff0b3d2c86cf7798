"""What a notification is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova_lite.failures import Failure
from nova_lite.model.network import Vif
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


@dataclass(frozen=True)
class Subject:
    """A server at one moment, and on whose request something happens to it.

    ``instance`` needs its flavor, metadata and system_metadata; ``name`` is its domain's name.
    ``mappings`` are its block device mappings, None where nobody asked for them; ``shares``
    are its share mappings, None where they are not to be told.
    """

    context: RequestContext
    instance: WireObject
    name: str
    vifs: Sequence[Vif] = ()
    mappings: Sequence[WireObject] | None = None
    shares: Sequence[WireObject] | None = None


@dataclass(frozen=True)
class Detail:
    """What the notifications of one verb say beside the server itself.

    ``payload`` is the name of the versioned payload without "Payload", ``fields`` its own fields;
    ``legacy`` are further keys of the legacy payload, ``addresses`` says whether that lists the
    fixed addresses.
    """

    payload: str = "InstanceAction"
    fields: Mapping[str, Any] = field(default_factory=dict)
    legacy: Mapping[str, Any] = field(default_factory=dict)
    addresses: bool = False


@dataclass(frozen=True)
class Trouble:
    """A failure, and the RPC method that met it."""

    failure: Failure
    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
