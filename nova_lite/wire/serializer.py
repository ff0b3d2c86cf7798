"""The serializer that oslo.messaging calls on the way in and out."""

from __future__ import annotations

from typing import Any

from oslo_messaging import serializer

from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap, wrap


class NovaSerializer(serializer.Serializer):
    """Objects as :class:`WireObject`, contexts as :class:`RequestContext`."""

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return unwrap(entity)

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return wrap(entity)

    def serialize_context(self, ctxt: Any) -> dict[str, Any]:
        return dict(ctxt.fields if isinstance(ctxt, RequestContext) else ctxt)

    def deserialize_context(self, ctxt: Any) -> RequestContext:
        return RequestContext(ctxt)
