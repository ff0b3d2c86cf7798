"""The way to nova-conductor: remote object methods over RPC (topic ``conductor``, version 3.0)."""

from __future__ import annotations

import time
from typing import Any

import amqp
import oslo_messaging as messaging
from kombu.exceptions import KombuError

from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError
from nova_lite.wire import exceptions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.serializer import NovaSerializer
from nova_lite.wire.versions import VERSIONS, manifest

# Attempts of oslo.messaging to hand a message to the broker before it gives up; what comes after
# that is the operation engine's business, which knows whether waiting makes sense.
SEND_RETRIES = 2


class Conductor:
    """Calls of remotable object methods.

    rpc_response_timeout bounds each call. Raises ControlPlaneUnavailable when no broker or no
    conductor answers in time, the row of the error table for the exceptions that mean something
    here, and RemoteFailure for the rest.
    """

    def __init__(self, transport: Any) -> None:
        serializer = NovaSerializer()
        self._objects = messaging.get_rpc_client(
            transport,
            messaging.Target(topic="conductor", version="3.0"),
            serializer=serializer,
            retry=SEND_RETRIES,
        )
        self._base = self._objects.prepare(namespace="baseapi", version="1.0")
        self._tasks = messaging.get_rpc_client(
            transport,
            messaging.Target(topic="conductor", namespace="compute_task", version="1.0"),
            serializer=serializer,
            retry=SEND_RETRIES,
        )

    def ping(self, timeout: float) -> float:
        """Return the seconds a round trip to a conductor took."""
        start = time.monotonic()
        client = self._base.prepare(timeout=timeout)
        self._run(client.call, RequestContext.admin(), "ping", arg="nova_lite")
        return time.monotonic() - start

    def class_call(self, context: RequestContext, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call ``Class.method`` on the conductor and return its result, objects wrapped."""
        name, objmethod = method.split(".")
        return self._run(
            self._objects.call, context, "object_class_action_versions",
            objname=name, objmethod=objmethod, object_versions=manifest(name),
            args=list(args), kwargs=kwargs,
        )  # fmt: skip

    def class_cast(self, context: RequestContext, method: str, *args: Any, **kwargs: Any) -> None:
        """As :meth:`class_call`, waiting for nothing: where neither result nor order matters."""
        name, objmethod = method.split(".")
        self._run(
            self._objects.cast, context, "object_class_action_versions",
            objname=name, objmethod=objmethod, object_versions=manifest(name),
            args=list(args), kwargs=kwargs,
        )  # fmt: skip

    def object_call(
        self, context: RequestContext, obj: WireObject, method: str, **kwargs: Any
    ) -> tuple[dict[str, Any], Any]:
        """Call a method of ``obj`` on the conductor; return (changed fields, result)."""
        updates, result = self._run(
            self._objects.call, context, "object_action",
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
        client = self._tasks.prepare(version=version)
        self._run(client.cast, context, method, **arguments)

    @staticmethod
    def _run(send: Any, context: RequestContext, method: str, **arguments: Any) -> Any:
        try:
            return send(context, method, **arguments)
        except messaging.RemoteError as error:
            raise exceptions.incoming(error) from None
        except messaging.MessagingTimeout:
            raise ControlPlaneUnavailable(
                f"nova-conductor did not answer {_what(method, arguments)} in time; check that "
                "nova-conductor runs and that the broker delivers to it"
            ) from None
        except messaging.MessageDeliveryFailure as error:
            raise ControlPlaneUnavailable(
                f"the message broker did not take {_what(method, arguments)}: "
                f"{type(error).__name__}; check [DEFAULT]transport_url and the broker"
            ) from None
        except NovaLiteError:
            raise
        except (OSError, amqp.AMQPError, KombuError) as error:
            # A new connection that the broker does not take; oslo.messaging lets it through as is.
            raise ControlPlaneUnavailable(
                f"the message broker does not take {_what(method, arguments)}: "
                f"{type(error).__name__}; check [DEFAULT]transport_url and the broker"
            ) from None
        except messaging.MessagingException as error:
            raise ControlPlaneUnavailable(
                f"messaging failed for {_what(method, arguments)}: {type(error).__name__}"
            ) from error


def _what(method: str, arguments: dict[str, Any]) -> str:
    """The remote method as an operator would name it."""
    if "objname" in arguments:
        return f"{arguments['objname']}.{arguments['objmethod']}"
    if "objinst" in arguments:
        return f"{arguments['objinst'].name}.{arguments['objmethod']}"
    return method
