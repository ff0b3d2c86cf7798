"""The way to nova-conductor: remote object methods over RPC (topic ``conductor``, version 3.0)."""

from __future__ import annotations

import time
from typing import Any

import oslo_messaging as messaging

from nova_lite.conductor import repeats
from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.messaging import sending
from nova_lite.wire import exceptions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.versions import VERSIONS, manifest

CONDUCTOR = sending.Receiver(
    "nova-conductor",
    silent=ControlPlaneUnavailable,
    remedy="check that nova-conductor runs and that the broker delivers to it",
    failed=exceptions.incoming,
)


class Conductor:
    """Calls of remotable object methods.

    What may be carried out twice (``repeats``) is asked again after a few seconds without an
    answer; rpc_response_timeout bounds each attempt. Raises ControlPlaneUnavailable when no broker
    or no conductor answers in time, the row of the error table for the exceptions that mean
    something here, and RemoteFailure for the rest.
    """

    def __init__(self, transport: Any, outgoing: Outgoing | None = None) -> None:
        """:param outgoing: knows what the conductor knows; default: as the oldest release"""
        self._objects = sending.client(
            transport, messaging.Target(topic="conductor", version="3.0"), outgoing
        )
        self._base = self._objects.prepare(namespace="baseapi", version="1.0")
        self._tasks = sending.client(
            transport,
            messaging.Target(topic="conductor", namespace="compute_task", version="1.0"),
            outgoing,
        )

    def ping(self, timeout: float) -> float:
        """Return the seconds a round trip to a conductor took."""
        start = time.monotonic()
        self._call(self._base, (timeout,), RequestContext.admin(), "ping", arg="nova_lite")
        return time.monotonic() - start

    def class_call(self, context: RequestContext, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call ``Class.method`` on the conductor and return its result, objects wrapped."""
        name, objmethod = method.split(".")
        return self._call(
            self._objects, self._waits(name, objmethod, kwargs),
            context, "object_class_action_versions",
            objname=name, objmethod=objmethod, object_versions=manifest(name),
            args=list(args), kwargs=kwargs,
        )  # fmt: skip

    def class_cast(self, context: RequestContext, method: str, *args: Any, **kwargs: Any) -> None:
        """As :meth:`class_call`, waiting for nothing: where neither result nor order matters."""
        name, objmethod = method.split(".")
        self._cast(
            self._objects, context, "object_class_action_versions",
            objname=name, objmethod=objmethod, object_versions=manifest(name),
            args=list(args), kwargs=kwargs,
        )  # fmt: skip

    def object_call(
        self, context: RequestContext, obj: WireObject, method: str, **kwargs: Any
    ) -> tuple[dict[str, Any], Any]:
        """Call a method of ``obj`` on the conductor; return (changed fields, result)."""
        updates, result = self._call(
            self._objects, self._waits(obj.name, method, kwargs), context, "object_action",
            objinst=obj, objmethod=method, args=[], kwargs=kwargs,
        )  # fmt: skip
        return updates, result

    def create(self, context: RequestContext, name: str, /, **fields: Any) -> WireObject:
        """Create a record of class ``name`` and return it with what the database added."""
        obj = WireObject.new(name, VERSIONS[name], **fields)
        updates, _ = self.object_call(context, obj, "create")
        obj.apply(updates)
        return obj

    def save(self, context: RequestContext, obj: WireObject, /, **fields: Any) -> None:
        """Save ``fields`` (and what was changed before) of a record that its ``id`` names."""
        obj.set(**fields)
        if obj.changes:
            updates, _ = self.object_call(context, obj.partial("id"), "save")
            obj.apply(updates)

    def task_cast(
        self, context: RequestContext, method: str, version: str, **arguments: Any
    ) -> None:
        """Hand work back to the conductor (namespace ``compute_task``)."""
        self._cast(self._tasks.prepare(version=version), context, method, **arguments)

    def _waits(
        self, name: str, method: str, arguments: dict[str, Any]
    ) -> tuple[float | None, ...]:
        limit = float(self._objects.conf.rpc_response_timeout)
        return repeats.waits(limit) if repeats.repeatable(name, method, arguments) else (limit,)

    @staticmethod
    def _call(
        client: Any,
        waits: tuple[float | None, ...],
        context: RequestContext,
        method: str,
        **arguments: Any,
    ) -> Any:
        def send(wait: float | None) -> Any:
            return client.prepare(timeout=wait).call(context, method, **arguments)

        return sending.deliver(CONDUCTOR, _what(method, arguments), send, waits)

    @staticmethod
    def _cast(client: Any, context: RequestContext, method: str, **arguments: Any) -> None:
        def send(wait: float | None) -> None:
            client.cast(context, method, **arguments)

        sending.deliver(CONDUCTOR, _what(method, arguments), send)


def _what(method: str, arguments: dict[str, Any]) -> str:
    """The remote method as an operator would name it."""
    if "objname" in arguments:
        return f"{arguments['objname']}.{arguments['objmethod']}"
    if "objinst" in arguments:
        return f"{arguments['objinst'].name}.{arguments['objmethod']}"
    return method
