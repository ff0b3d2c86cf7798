"""Errors of servers that come from a host that failed."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class GuestExists(NovaLiteError):
    """The host that is to get a server has a guest of it already."""

    nova_name, code, verdict, expected = "InstanceExists", 409, Verdict.ABORT, True

    def __init__(self, server_uuid: str, host: str) -> None:
        super().__init__(
            f"Instance {server_uuid} already exists: host {host} has a guest of it, which may be "
            "in use; if it is not, remove it with virsh undefine and try again"
        )


class InvalidSharedStorage(NovaLiteError):
    """The request says of a server's files what is not so on this host."""

    nova_name, verdict, expected = "InvalidSharedStorage", Verdict.ABORT, True


class TargetStateUnsupported(NovaLiteError):
    nova_name, code, verdict, expected = (
        "InstanceEvacuateNotSupportedTargetState",
        400,
        Verdict.ABORT,
        True,
    )

    def __init__(self, target_state: str) -> None:
        super().__init__(
            f"Target state '{target_state}' for instance evacuate is not supported: stopped is"
        )


class EvacuationSuperseded(NovaLiteError):
    """The server is evacuated to another host by now, or the evacuation was ended by somebody."""

    nova_name, code, verdict, expected = "InstanceNotReady", 409, Verdict.GONE, True
