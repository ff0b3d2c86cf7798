"""Errors of the rest of the cloud, and of this host's place in it."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class ControlPlaneUnavailable(NovaLiteError):
    """No conductor, broker, Keystone or Placement answers within the timeout."""

    nova_name, code, expected = "ServiceUnavailable", 503, True


class VolumeServiceUnavailable(ControlPlaneUnavailable):
    """Cinder does not answer."""

    nova_name = "CinderConnectionFailed"


class ShareServiceUnavailable(ControlPlaneUnavailable):
    """Manila does not answer."""

    nova_name = "ManilaConnectionFailed"


class PlacementError(NovaLiteError):
    nova_name, code = "PlacementAPIConnectFailure", 500


class CredentialsInvalid(NovaLiteError):
    """Keystone refuses the configured credentials; the message names the config group."""

    nova_name, code, expected = "Forbidden", 500, True


class RequestTokenExpired(NovaLiteError):
    """What is asked for is only made with the token of the request, which does not do any more."""

    nova_name, code, verdict, expected = "Unauthorized", 401, Verdict.ABORT, True

    def __init__(self, service: str) -> None:
        super().__init__(
            f"The token of the request expired or was lost, and {service} is asked with no other: "
            "ask again ([service_user]send_service_user_token = true prevents it)"
        )


class ServerNotFound(NovaLiteError):
    nova_name, code, verdict, expected = "InstanceNotFound", 404, Verdict.GONE, True


class ServerBeingDeleted(NovaLiteError):
    nova_name, code, verdict, expected = (
        "UnexpectedDeletingTaskStateError",
        409,
        Verdict.GONE,
        True,
    )


class UnexpectedTaskState(NovaLiteError):
    """The server is not in the state in which a save or an operation may find it.

    ``asked_before``: the same save was sent before and nobody answered it, so that the unexpected
    state may be the one it made.
    """

    nova_name, code, verdict, expected = "UnexpectedTaskStateError", 409, Verdict.GONE, True
    asked_before = False


class ConductorError(NovaLiteError):
    """The conductor answered with an exception that means nothing special here."""

    nova_name = "NovaException"


class PeerUnavailable(NovaLiteError):
    """The agent of another compute host does not answer; it may never do so again."""

    nova_name, code, expected = "ComputeServiceUnavailable", 503, True


class PeerTooOld(NovaLiteError):
    """The agent of another compute host cannot know what is asked of it."""

    nova_name, expected = "UnsupportedRPCVersion", True


class ObjectUnknown(NovaLiteError):
    """A message has an object that the control plane does not have; it was not sent."""

    nova_name, verdict = "UnsupportedObjectError", Verdict.ABORT


class ServiceTooOld(NovaLiteError):
    nova_name, expected = "ServiceTooOld", True


class HostIdentityError(NovaLiteError):
    """compute_id, host name or existing guests do not match the Service and ComputeNode records."""

    nova_name, expected = "InvalidConfiguration", True


class InvalidConfiguration(NovaLiteError):
    nova_name, expected = "InvalidConfiguration", True
