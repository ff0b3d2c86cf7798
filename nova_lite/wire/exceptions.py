"""Exceptions crossing the wire, in both directions.

nova-api and nova-conductor accept only exceptions of module ``nova.exception`` (and builtins); any
other becomes HTTP 500. So an error leaves as a class of the right name in that module, made here,
without importing nova. What comes from the conductor or from the agent of another host arrives as
oslo.messaging's RemoteError and is told apart by its ``exc_type``.
"""

from __future__ import annotations

import collections
import functools
from typing import Any

from nova_lite import errors

_classes: dict[str, type[Exception]] = {}


def _wire_class(name: str) -> type[Exception]:
    """The class that oslo serialises as ``nova.exception.<name>``."""
    if name not in _classes:
        _classes[name] = type(name, (Exception,), {"__module__": "nova.exception"})
    return _classes[name]


def outgoing(error: Exception) -> Exception:
    """The exception to send to the caller for ``error``.

    Errors of the table get the name their row gives; NotImplementedError stays (the API answers
    501); anything else is a NovaException whose text names only the type, for its message could
    hold anything.
    """
    if isinstance(error, NotImplementedError):
        return NotImplementedError(str(error))
    if isinstance(error, errors.NovaLiteError):
        name, message, code = error.nova_name, error.message, error.code
        details = error.details
        if name == "NotImplementedError":
            return NotImplementedError(message)
    else:
        name, code, details = "NovaException", 500, {}
        message = f"Unexpected {type(error).__name__} in the compute agent; see its log"
    result = _wire_class(name)(message)
    result.kwargs = {**details, "code": code}  # type: ignore[attr-defined]
    result.code = code  # type: ignore[attr-defined]
    return result


_INCOMING: dict[str, type[errors.NovaLiteError]] = {
    "InstanceNotFound": errors.ServerNotFound,
    "UnexpectedDeletingTaskStateError": errors.ServerBeingDeleted,
    "UnexpectedTaskStateError": errors.UnexpectedTaskState,
    "UnexpectedVMStateError": errors.UnexpectedTaskState,
    "ServiceTooOld": errors.ServiceTooOld,
}

# What the conductor itself misses -> where to look.
_AWAY = {
    "DBConnectionError": "its database",
    "CantStartEngineError": "its database",
    "MessagingTimeout": "the message broker",
    "MessageDeliveryFailure": "the message broker",
}


class RemoteFailure(errors.ConductorError):
    """An exception that means nothing special here, raised by the conductor or by another host.

    ``exc_type`` is its class name there.
    """

    def __init__(self, exc_type: str, message: str, raised_by: str = "nova-conductor") -> None:
        super().__init__(f"{raised_by}: {exc_type}: {message}")
        self.exc_type = exc_type


def incoming(remote: Any) -> errors.NovaLiteError:
    """The table's error for a RemoteError (``exc_type``, ``value``) from the conductor."""
    exc_type, message = _told(remote)
    if exc_type in _AWAY:
        return errors.ControlPlaneUnavailable(
            f"nova-conductor cannot do its work ({exc_type}); check {_AWAY[exc_type]}"
        )
    known = _INCOMING.get(exc_type)
    return known(message) if known else RemoteFailure(exc_type, message)


def incoming_from_host(remote: Any, host: str) -> errors.NovaLiteError:
    """The table's error for a RemoteError from the agent of another host, which it names.

    The row is the one with the exception's name, as that agent may be nova_lite or stock. What the
    other host waits for without an end (ControlPlaneUnavailable) is only a failure here.
    """
    exc_type, message = _told(remote)
    row = _INCOMING.get(exc_type) or _rows().get(exc_type)
    if row is None or issubclass(row, errors.ControlPlaneUnavailable):
        return RemoteFailure(exc_type, message, f"host {host}")
    return row(f"host {host}: {message}")


def _told(remote: Any) -> tuple[str, str]:
    """Class name and message of a RemoteError."""
    exc_type = str(getattr(remote, "exc_type", "") or "Exception")
    # An error of the database brings the statement along, with all its values.
    return exc_type, str(getattr(remote, "value", "") or "").partition("[SQL")[0].strip()


@functools.cache
def _rows() -> dict[str, type[errors.NovaLiteError]]:
    """Rows by nova's name: those that have it for themselves and are made of a message alone."""
    rows = [row for row in vars(errors).values() if _is_row(row)]
    names = collections.Counter(row.nova_name for row in rows)
    return {
        row.nova_name: row
        for row in rows
        if names[row.nova_name] == 1 and row.__init__ is errors.NovaLiteError.__init__
    }


def _is_row(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, errors.NovaLiteError)
