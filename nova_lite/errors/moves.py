"""Errors of servers that move from one host to another while both are up."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class MigrationError(NovaLiteError):
    """A move that cannot be carried out."""

    nova_name, verdict, expected = "MigrationError", Verdict.ABORT, True

    def __init__(self, reason: str) -> None:
        super().__init__(f"Migration error: {reason}")


class ResizeError(NovaLiteError):
    """A flavor that the server cannot have, or disks that cannot leave their host."""

    nova_name, verdict, expected = "ResizeError", Verdict.ABORT, True

    def __init__(self, reason: str) -> None:
        super().__init__(f"Resize error: {reason}")


class UnableToMigrateToSelf(NovaLiteError):
    """The host that is to get the server has it already, with the same flavor."""

    nova_name, code, expected = "UnableToMigrateToSelf", 400, True

    def __init__(self, server_uuid: str, host: str) -> None:
        super().__init__(f"Unable to migrate instance ({server_uuid}) to current host ({host}).")


class MigrationPreCheckFailed(NovaLiteError):
    """A host of a move to another cell refuses it, before anything was done."""

    nova_name, verdict, expected = "MigrationPreCheckError", Verdict.ABORT, True

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            f"Migration pre-check error: Pre-checks failed on host '{host}'. Error: {reason}"
        )


class MoveSuperseded(NovaLiteError):
    """The move is over, or another one has begun: what is asked of its old messages is not done."""

    nova_name, code, verdict, expected = "InstanceNotReady", 409, Verdict.GONE, True
