"""Exception notifications of methods that are answered at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.subject import Trouble
from nova_lite.wire.context import RequestContext

Handler = Callable[..., Any]


def announced(handlers: Mapping[str, Handler], notifier: Notifier) -> Mapping[str, Handler]:
    """The same handlers; a failure is sent as a notification before it is raised."""
    if not notifier.on:
        return handlers
    return {name: _announced(name, handler, notifier) for name, handler in handlers.items()}


def _announced(name: str, handler: Handler, notifier: Notifier) -> Handler:
    @functools.wraps(handler)
    def answer(context: RequestContext, **arguments: Any) -> Any:
        try:
            return handler(context, **arguments)
        except Exception as error:
            notifier.exception(context, Trouble(Failure.of(error), name, arguments))
            raise

    return answer
