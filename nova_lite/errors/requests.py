"""Errors of what is asked of this agent."""

from __future__ import annotations

from collections.abc import Iterable

from nova_lite.errors.base import NovaLiteError, Verdict


class MalformedMessage(NovaLiteError):
    """A message that cannot be decoded or lacks an argument."""

    nova_name, code, expected = "Invalid", 400, True


class RequestSecretsLost(NovaLiteError):
    """What is needed of a request was in memory only, and the host has lost power meanwhile."""

    nova_name, verdict, expected = "NovaException", Verdict.ABORT, True

    def __init__(self, secrets: Iterable[str]) -> None:
        what = " and ".join(sorted(name.replace("_", " ") for name in secrets))
        super().__init__(
            f"The host lost power before the request was carried out, and with it the {what}, "
            "which it keeps in memory only: ask again"
        )


class ServerNotReady(NovaLiteError):
    nova_name, code, expected = "InstanceNotReady", 409, True


class ServerInvalidState(NovaLiteError):
    nova_name, code, expected = "InstanceInvalidState", 409, True


class ServerElsewhere(NovaLiteError):
    """The request came to a host that does not have the server any more, or not yet."""

    nova_name, code, verdict, expected = "InstanceNotReady", 409, Verdict.GONE, True


class ConsoleTypeUnavailable(NovaLiteError):
    nova_name, code, expected = "ConsoleTypeUnavailable", 400, True


class ConsoleTypeInvalid(NovaLiteError):
    nova_name, code, expected = "ConsoleTypeInvalid", 400, True


class SerialPortsExhausted(NovaLiteError):
    nova_name, code, expected = "SocketPortRangeExhaustedException", 500, True


class ConsoleNotAvailable(NovaLiteError):
    nova_name, code, expected = "ConsoleNotAvailable", 404, True


class NotRescuable(NovaLiteError):
    nova_name, code, verdict, expected = "InstanceNotRescuable", 400, Verdict.ABORT, True


class PreserveEphemeralUnsupported(NovaLiteError):
    nova_name, code, verdict, expected = "PreserveEphemeralNotSupported", 400, Verdict.ABORT, True


class CertificatesUnsupported(NovaLiteError):
    """Images are not verified here; a host with nova-compute does it."""

    nova_name, verdict, expected = "BuildAbortException", Verdict.RESCHEDULE, True


class PowerOffFailure(NovaLiteError):
    nova_name, code = "InstancePowerOffFailure", 500


class AnswerLost(NovaLiteError):
    """Whoever called does not wait any more, or what was returned to him is not known any more."""

    expected, refusal = True, True


class OperationAborted(NovaLiteError):
    """Its user does not want it any more, and nothing of it is left."""

    code, verdict, expected = 409, Verdict.ABORT, True


class JournalError(NovaLiteError):
    """The journal cannot be written: nothing is started that could not be resumed."""

    nova_name = "InternalError"
