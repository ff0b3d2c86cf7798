"""The serializer that oslo.messaging calls on the way in and out."""

from __future__ import annotations

from typing import Any

from oslo_messaging import serializer

from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap
from nova_lite.wire.outgoing import Outgoing


class NovaSerializer(serializer.Serializer):
    """Objects as :class:`WireObject`, contexts as :class:`RequestContext`.

    :param outgoing: knows what the receivers know
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        """:raises ObjectUnknown: see :class:`Outgoing`"""
        return self._outgoing.fitting(entity)

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        return wrap(entity)

    def serialize_context(self, ctxt: Any) -> dict[str, Any]:
        return dict(ctxt.fields if isinstance(ctxt, RequestContext) else ctxt)

    def deserialize_context(self, ctxt: Any) -> RequestContext:
        return RequestContext(ctxt)
