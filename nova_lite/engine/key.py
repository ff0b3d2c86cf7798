"""What makes two messages one operation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from nova_lite.operations.base import Operation
from nova_lite.wire.context import RequestContext


class Key(NamedTuple):
    """Identity of a request: the same one twice is one operation.

    ``subject`` is what of the server it is about (``Operation.subject``), such as a volume.
    """

    request_id: str
    method: str
    server: str
    subject: str = ""


def key_of(
    verb: type[Operation],
    method: str,
    context: RequestContext,
    server_uuid: str,
    arguments: Mapping[str, Any],
) -> Key:
    """The key of a message.

    One without a request id is never the repetition of another: it gets an id of its own.
    """
    request_id = context.request_id or f"none-{uuid.uuid4()}"
    return Key(request_id, method, server_uuid, verb.subject(arguments))
