"""Errors of servers that move to another host while they run."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class LiveMigrationRefused(NovaLiteError):
    """A host that cannot get the server, or cannot give it away: nova-conductor tries the next one.

    nova/conductor/tasks/live_migrate.py, ``_call_livem_checks_on_host`` and ``_find_destination``.
    """

    nova_name, code, verdict, expected = "MigrationPreCheckError", 400, Verdict.ABORT, True

    def __init__(self, reason: str) -> None:
        super().__init__(f"Migration pre-check error: {reason}")


class InvalidLocalStorage(NovaLiteError):
    """Disks were to be copied that both hosts have already."""

    nova_name, code, verdict, expected = "InvalidLocalStorage", 400, Verdict.ABORT, True

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} is not on local storage: {reason}")


class StorageNotShared(NovaLiteError):
    """Disks were not to be copied that the other host does not have.

    The name is that of ``errors.InvalidSharedStorage``, which is about an evacuation.
    """

    nova_name, code, verdict, expected = "InvalidSharedStorage", 400, Verdict.ABORT, True

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} is not on shared storage: {reason}")


class DestinationDiskExists(NovaLiteError):
    """The host that is to get a server has a directory of it, which somebody else may use."""

    nova_name, code, verdict, expected = "DestinationDiskExists", 400, Verdict.ABORT, True

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The supplied disk path ({path}) already exists, it is expected not to exist: if no "
            "guest uses what is in it, remove it"
        )


class CpuIncompatible(NovaLiteError):
    """A CPU that the other host cannot provide."""

    nova_name, code, verdict, expected = "InvalidCPUInfo", 400, Verdict.ABORT, True

    def __init__(self, reason: str) -> None:
        super().__init__(f"Unacceptable CPU info: {reason}")


class GuestDidNotArrive(NovaLiteError):
    """A live migration is said to be over, and the guest is not on the host that was to get it."""

    nova_name, verdict, expected = "InstanceNotFound", Verdict.ABORT, True


class LiveMigrationFailed(NovaLiteError):
    """A server that was to move while it runs stays where it is."""

    nova_name, verdict, expected = "MigrationError", Verdict.ABORT, True

    def __init__(self, reason: str) -> None:
        super().__init__(f"Migration error: {reason}")


class InvalidMigrationState(NovaLiteError):
    """A live migration that is not in a state in which it can be ended or forced.

    The name is that of nova; a cast has no caller that could see it.
    """

    nova_name, code, verdict, expected = "InvalidMigrationState", 400, Verdict.ABORT, True


class GuestIsHere(NovaLiteError):
    """What a guest that is on this host uses was to be taken from it."""

    nova_name, code, verdict, expected = "InstanceInvalidState", 409, Verdict.ABORT, True
