"""From a message to its handler: the one place that decodes, acknowledges and reports errors."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from nova_lite.engine.engine import Engine
from nova_lite.engine.queues import Pool
from nova_lite.errors import JournalError, MalformedMessage, NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.rpc import callers
from nova_lite.rpc.callers import is_call
from nova_lite.wire.compute_api import NEWEST
from nova_lite.wire.context import RequestContext
from nova_lite.wire.decode import Kind, is_uuid, required
from nova_lite.wire.objects import WireObject, wrap
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

MAJOR = str(NEWEST[0])  # of the compute RPC API; messages of any minor are taken
BASE_NAMESPACE = "baseapi"


class Unsupported(NotImplementedError):
    """The API answers 501 for it."""


@dataclass(frozen=True)
class Route:
    """What to do with one method of the compute RPC API.

    Exactly one of ``operation`` (journalled; name of the verb in the engine) and ``handler`` (at
    once; called with the context and the arguments, its result is the reply) is set, or neither:
    the method is known but not supported yet, and callers get the error ``unsupported``.
    ``arguments`` are the ones that must be there, by name, with their kind;
    ``answers``: the caller waits for the operation. ``task_state``: the API has set a task state,
    which a refused message must clear even where the caller gets the error itself. ``prompt``: the
    handler waits for nothing but the journal; the others may hang in the hypervisor or in storage,
    and have workers of their own.
    """

    arguments: Mapping[str, Kind] = field(default_factory=dict)
    operation: str | None = None
    handler: Callable[..., Any] | None = None
    answers: bool = False
    task_state: bool = False
    unsupported: type[Exception] = Unsupported
    prompt: bool = False


class NotNow(Exception):
    """Leave the message unacknowledged: whoever listens next gets it."""


class Dispatcher:
    """Routes messages of the compute API and of ``baseapi``.

    ``report`` tells the API of a cast that could not be carried out: (context, instance, method,
    failure) -> None. ``handlers`` are the workers of handlers that may hang; None: the caller's.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        base_routes: Mapping[str, Route],
        engine: Engine,
        report: Callable[[RequestContext, WireObject, str, Failure], None],
        monitor: Callable[[Any], Any],
        handlers: Pool | None = None,
    ) -> None:
        self._routes = routes
        self._base_routes = base_routes
        self._engine = engine
        self._report = report
        self._monitor = monitor
        self._handlers = handlers

    def dispatch(self, message: Any) -> Any:
        """Handle one incoming message and return the reply; raises what the caller is to see.

        The reply is a Future where an operation or a handler has to end first: no thread waits for
        it. The Future of a message that is not acknowledged yet may end with NotNow: the agent
        stops and has not begun with it, so that the broker is to keep it.
        """
        method = str(message.message.get("method"))
        context = RequestContext(message.ctxt)
        until = callers.waits_until(message, context)
        try:
            route, arguments = self._understand(message.message, method)
            if not self._promised(route, context, arguments):
                callers.check(until, method, context)
        except Unsupported as error:
            LOG.warning("%s (request %s)", error, context.request_id)
            self._tell(message, context, method, error)
            raise
        except NovaLiteError as error:
            log = LOG.warning if error.refusal else LOG.error
            log("Refused message %s (request %s): %s", method, context.request_id, error)
            self._tell(message, context, method, error)
            raise
        if route.operation is not None:
            return self._promise(message, context, route, arguments, until)
        if route.prompt:
            reply = self._handle(message, context, method, route, arguments)
            return _once_told(reply) if isinstance(reply, Future) else reply
        message.acknowledge()
        if self._handlers is None:
            return self._handle(message, context, method, route, arguments)
        answer: Future[Any] = Future()

        def handle() -> None:
            try:
                callers.check(until, method, context)
                answer.set_result(self._handle(message, context, method, route, arguments))
            except BaseException as error:
                answer.set_exception(error)

        self._handlers.submit(f"{method} (request {context.request_id})", handle)
        return answer

    def _understand(self, message: Mapping[str, Any], method: str) -> tuple[Route, dict[str, Any]]:
        try:
            route = self._route(message, method)
            return route, self._decode(message, route)
        except (NovaLiteError, Unsupported):
            raise
        except Exception as error:
            # Whatever shape it has, it is the sender's; its text could hold anything.
            LOG.debug("What is wrong with message %s", method, exc_info=True)
            raise MalformedMessage(
                f"the message {method} cannot be understood ({type(error).__name__}); check that "
                "the sender is a nova service"
            ) from None

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
            raise route.unsupported(f"nova_lite does not support {method} yet")
        return route

    @staticmethod
    def _check_version(version: str, method: str) -> None:
        major, _, minor = version.partition(".")
        if major != MAJOR or not minor.isdigit():
            raise MalformedMessage(
                f"{method} was sent in compute RPC version {version}; this agent speaks "
                f"{MAJOR}.x: remove an old pin from [upgrade_levels]compute of the control "
                "plane"
            )

    @staticmethod
    def _decode(message: Mapping[str, Any], route: Route) -> dict[str, Any]:
        arguments = message.get("args")
        if not isinstance(arguments, dict):
            raise MalformedMessage("the message has no argument dictionary")
        decoded: dict[str, Any] = wrap(arguments)
        if decoded.get("instance") is not None:
            required(decoded, "instance", WireObject)
        for name, kind in route.arguments.items():
            value = required(decoded, name, kind)
            if isinstance(value, WireObject):
                _check_major(name, value)
        if route.operation is not None and not is_uuid(decoded["instance"].get("uuid")):
            raise MalformedMessage("argument 'instance' has no uuid; the sender did not load it")
        return decoded

    def _promised(
        self, route: Route, context: RequestContext, arguments: dict[str, Any]
    ) -> bool:
        """Whether an earlier copy of the message, perhaps to an earlier process, was promised."""
        if route.operation is None:
            return False
        uuid = str(arguments["instance"]["uuid"])
        return self._engine.promised(route.operation, context, uuid, arguments)

    def _promise(
        self,
        message: Any,
        context: RequestContext,
        route: Route,
        arguments: dict[str, Any],
        until: float,
    ) -> Future[Any] | None:
        verb, uuid = str(route.operation), str(arguments["instance"]["uuid"])
        try:
            entry = self._engine.accept(verb, context, uuid, arguments)
        except JournalError as error:
            LOG.error("Refused %s (request %s): %s", verb, context.request_id, error)
            return self._refuse(verb, context, uuid, arguments, error)
        if not callers.stays_until_answered(message, route.answers):
            message.acknowledge()
        if entry is not None:
            entry.caller_waits_until = until
            self._engine.start(entry)
        if not route.answers:
            return None
        answer = (
            entry.answer if entry else self._engine.answer_to(verb, context, uuid, arguments)
        )
        waiting = contextlib.ExitStack()
        waiting.enter_context(self._monitor(message))
        answer.add_done_callback(lambda answered: waiting.close())
        return answer

    def _refuse(
        self,
        verb: str,
        context: RequestContext,
        uuid: str,
        arguments: dict[str, Any],
        error: JournalError,
    ) -> Future[Any]:
        """Nothing was begun, so that another host may, or the user again, once they know of it."""
        return _once_told(self._engine.refuse(verb, context, uuid, arguments, error), error)

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
            inspect.signature(route.handler).bind(context, **arguments)
        except TypeError as error:
            LOG.error("Refused message %s (request %s): %s", method, context.request_id, error)
            raise MalformedMessage(f"{method} was sent with wrong arguments: {error}") from None
        try:
            with self._monitor(message):
                return route.handler(context, **arguments)
        except NovaLiteError as error:
            log = LOG.info if error.expected else LOG.exception
            log("%s (request %s) failed: %s", method, context.request_id, error)
            raise
        except NotImplementedError:
            raise
        except Exception:
            LOG.exception("%s (request %s) failed", method, context.request_id)
            raise

    def _tell(self, message: Any, context: RequestContext, method: str, error: Exception) -> None:
        """A refused request must not leave its server in a task state for ever."""
        route = self._routes.get(method)
        if is_call(message) and not (route is not None and route.task_state):
            return  # the caller gets the error itself
        try:
            arguments = message.message.get("args")
            instance = wrap(arguments.get("instance")) if isinstance(arguments, dict) else None
            if isinstance(instance, WireObject) and is_uuid(instance.get("uuid")):
                failure = Failure.of(error)
                if isinstance(error, Unsupported):
                    failure = Failure(
                        "NotImplementedError", str(error), 501, Verdict.ABORT, True, ""
                    )
                self._report(context, instance, method, failure)
        except MalformedMessage:
            return  # not even the server can be told from it
        except Exception:
            LOG.exception("Could not report the refused %s to the API", method)


def _once_told(over: Future[bool], error: Exception | None = None) -> Future[Any]:
    """The answer to a message of which something was refused.

    :param over: see ``Engine.refuse``
    :param error: what the caller is to see
    """
    answer: Future[Any] = Future()

    def told(over: Future[bool]) -> None:
        problem = error if over.result() else NotNow()
        if problem is None:
            answer.set_result(None)
        else:
            answer.set_exception(problem)

    over.add_done_callback(told)
    return answer


def _check_major(name: str, value: WireObject) -> None:
    """Minor versions only add; another major may mean anything."""
    known = VERSIONS.get(value.name)
    if known is None or value.version.partition(".")[0] == known.partition(".")[0]:
        return
    raise MalformedMessage(
        f"argument {name!r} is {value.name} {value.version}; this agent knows {value.name} "
        f"{known.partition('.')[0]}.x: a control plane newer than 2026.2 needs a newer nova_lite"
    )
