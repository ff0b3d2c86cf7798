"""Errors of shares."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError


class ShareRequestRefused(NovaLiteError):
    """Manila understands, and does not do it."""

    nova_name, code, expected = "InvalidInput", 400, True


class ShareNotFound(NovaLiteError):
    nova_name, code, expected = "ShareNotFound", 404, True

    def __init__(self, share_id: str) -> None:
        super().__init__(f"Share {share_id} could not be found.")


class ShareProtocolUnsupported(NovaLiteError):
    """No driver mounts shares of this kind."""

    nova_name, code, expected = "ShareProtocolNotSupported", 404, True


class ShareAccessGrantError(NovaLiteError):
    """This host is not let at a share."""

    nova_name, expected = "ShareAccessGrantError", True

    def __init__(self, share_id: str, reason: str) -> None:
        super().__init__(f"Share access could not be granted to share id {share_id}: {reason}")


class ShareAccessRemovalError(NovaLiteError):
    """This host still is let at a share."""

    nova_name, expected = "ShareAccessRemovalError", True

    def __init__(self, share_id: str, reason: str) -> None:
        super().__init__(f"Share access could not be removed from share id {share_id}: {reason}")


class ShareMountFailed(NovaLiteError):
    nova_name, expected = "ShareMountError", True

    def __init__(self, share_id: str, server_uuid: str, reason: str) -> None:
        super().__init__(f"Share {share_id} cannot be mounted for server {server_uuid}: {reason}")


class ShareUnmountFailed(NovaLiteError):
    nova_name, expected = "ShareUmountError", True

    def __init__(self, share_id: str, server_uuid: str, reason: str) -> None:
        super().__init__(f"Share {share_id} of server {server_uuid} stays mounted: {reason}")


class ShareNotReady(NovaLiteError):
    """A share was never attached, or is half detached."""

    nova_name, expected = "ShareErrorUnexpectedStatus", True

    def __init__(self, share_id: str, server_uuid: str, status: str) -> None:
        super().__init__(
            f"Share {share_id} used by instance {server_uuid} is in an unexpected state, {status}: "
            "detach it"
        )
