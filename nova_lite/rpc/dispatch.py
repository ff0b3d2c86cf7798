"""From a message to its handler: the one place that decodes, acknowledges and reports errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nova_lite.errors import Failure, JournalError, MalformedMessage, NovaLiteError
from nova_lite.operations.engine import Engine, subject
from nova_lite.wire.context import RequestContext
from nova_lite.wire.decode import required
from nova_lite.wire.objects import WireObject, wrap

LOG = logging.getLogger(__name__)

VERSION = (6, 5)  # of the compute RPC API; messages of any 6.x minor are taken
BASE_NAMESPACE = "baseapi"


@dataclass(frozen=True)
class Route:
    """What to do with one method of the compute RPC API.

    Exactly one of ``operation`` (journalled; name of the verb in the engine) and ``handler`` (at
    once; called with the context and the arguments, its result is the reply) is set, or neither:
    the method is known but not there yet. ``arguments`` are the ones that must be there.
    """

    arguments: tuple[str, ...] = ()
    operation: str | None = None
    handler: Callable[..., Any] | None = None


class Unsupported(NotImplementedError):
    """The API answers 501 for it."""


class Dispatcher:
    """Routes messages of the compute API and of ``baseapi``.

    ``report`` tells the API of a cast that could not be carried out: (context, instance, method,
    failure) -> None.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        base_routes: Mapping[str, Route],
        engine: Engine,
        report: Callable[[RequestContext, WireObject, str, Failure], None],
        monitor: Callable[[Any], Any],
    ) -> None:
        self._routes = routes
        self._base_routes = base_routes
        self._engine = engine
        self._report = report
        self._monitor = monitor

    def dispatch(self, message: Any) -> Any:
        """Handle one incoming message and return the reply; raises what the caller is to see."""
        method = str(message.message.get("method"))
        try:
            context = RequestContext(message.ctxt)
            route = self._route(message.message, method)
            arguments = self._decode(message.message, route)
        except NovaLiteError as error:
            LOG.error("Refused message %s (request %s): %s", method,
                      message.ctxt.get("request_id"), error)  # fmt: skip
            message.acknowledge()
            self._tell(message, method, error)
            raise
        except Unsupported as error:
            LOG.warning("%s (request %s)", error, message.ctxt.get("request_id"))
            message.acknowledge()
            self._tell(message, method, error)
            raise
        if route.operation is not None:
            return self._promise(message, context, method, route.operation, arguments)
        message.acknowledge()
        return self._handle(message, context, method, route, arguments)

    def _route(self, message: Mapping[str, Any], method: str) -> Route:
        namespace = message.get("namespace")
        if namespace == BASE_NAMESPACE:
            routes = self._base_routes
        elif namespace in (None, ""):
            self._check_version(str(message.get("version") or "1.0"), method)
            routes = self._routes
        else:
            raise MalformedMessage(f"unknown RPC namespace {namespace!r} for method {method}")
        route = routes.get(method)
        if route is None:
            raise MalformedMessage(
                f"unknown RPC method {method!r}; a control plane newer than 2026.2 needs a newer "
                "nova_lite"
            )
        if route.operation is None and route.handler is None:
            raise Unsupported(f"nova_lite does not support {method} yet")
        return route

    @staticmethod
    def _check_version(version: str, method: str) -> None:
        major, _, minor = version.partition(".")
        if major != str(VERSION[0]) or not minor.isdigit():
            raise MalformedMessage(
                f"{method} was sent in compute RPC version {version}; this agent speaks "
                f"{VERSION[0]}.x: remove an old pin from [upgrade_levels]compute of the control "
                "plane"
            )

    @staticmethod
    def _decode(message: Mapping[str, Any], route: Route) -> dict[str, Any]:
        arguments = message.get("args")
        if not isinstance(arguments, dict):
            raise MalformedMessage("the message has no argument dictionary")
        decoded: dict[str, Any] = wrap(arguments)
        for name in route.arguments:
            required(decoded, name, WireObject if name == "instance" else None)
        return decoded

    def _promise(
        self,
        message: Any,
        context: RequestContext,
        method: str,
        verb: str,
        arguments: dict[str, Any],
    ) -> None:
        instance = subject(arguments)
        assert instance is not None
        try:
            entry = self._engine.accept(verb, context, str(instance["uuid"]), arguments)
        except (JournalError, MalformedMessage) as error:
            LOG.error("Refused %s (request %s): %s", method, context.request_id, error)
            message.acknowledge()
            self._tell(message, method, error)
            raise
        message.acknowledge()
        if entry is not None:
            self._engine.start(entry)

    def _handle(
        self,
        message: Any,
        context: RequestContext,
        method: str,
        route: Route,
        arguments: dict[str, Any],
    ) -> Any:
        assert route.handler is not None
        try:
            with self._monitor(message):
                return route.handler(context, **arguments)
        except NovaLiteError as error:
            log = LOG.info if error.expected else LOG.exception
            log("%s (request %s) failed: %s", method, context.request_id, error)
            raise
        except NotImplementedError:
            raise
        except TypeError as error:
            LOG.exception("%s (request %s) failed", method, context.request_id)
            raise MalformedMessage(f"{method} was sent with wrong arguments: {error}") from error
        except Exception:
            LOG.exception("%s (request %s) failed", method, context.request_id)
            raise

    def _tell(self, message: Any, method: str, error: Exception) -> None:
        """A refused cast on a server must not leave it in its task state for ever."""
        if message.msg_id:
            return  # a call: the caller gets the error itself
        try:
            arguments = message.message.get("args") or {}
            instance = wrap(arguments.get("instance"))
            if isinstance(instance, WireObject) and instance.get("uuid"):
                failure = Failure.of(error)
                if isinstance(error, Unsupported):
                    failure = Failure("NotImplementedError", str(error), 501, "abort", True, "")
                self._report(RequestContext(message.ctxt), instance, method, failure)
        except Exception:
            LOG.exception("Could not report the refused %s to the API", method)
