"""Errors of block devices and volumes."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class InvalidBlockDevice(NovaLiteError):
    nova_name, code, verdict, expected = "InvalidBDM", 400, Verdict.ABORT, True


class InvalidVolume(NovaLiteError):
    """A volume cannot be used as asked: its state, its description or its connection forbid it."""

    nova_name, code, verdict, expected = "InvalidVolume", 400, Verdict.ABORT, True


class HostConnectorFailed(NovaLiteError):
    """This host does not know by which names storage knows it."""

    nova_name, expected = "InternalError", True

    def __init__(self, reason: str) -> None:
        super().__init__(f"The volume connector of this host cannot be found: {reason}")


class VolumeDriverMissing(InvalidVolume):
    """This host cannot connect volumes of that kind; another one may."""

    verdict = Verdict.RESCHEDULE


class VolumeAttachFailed(NovaLiteError):
    """This host cannot reach the volume; another one may."""

    nova_name, code, expected = "VolumeAttachFailed", 400, True

    def __init__(self, volume_id: str, reason: str) -> None:
        super().__init__(f"Volume {volume_id} could not be attached. Reason: {reason}")


class VolumeDetachFailed(NovaLiteError):
    """This host cannot let go of the volume."""

    nova_name, code, expected = "VolumeDetachFailed", 400, True

    def __init__(self, volume_id: str, reason: str) -> None:
        super().__init__(f"Volume {volume_id} could not be detached. Reason: {reason}")


class VolumeRebaseFailed(NovaLiteError):
    """A guest's disk could not be moved to another volume."""

    nova_name, expected = "VolumeRebaseFailed", True


class SwapRefused(InvalidVolume):
    """A disk is to become a volume that does not take over its id."""


class SwapEncryptedUnsupported(NovaLiteError):
    nova_name, expected = "NotImplementedError", True


class VolumeExtendFailed(NovaLiteError):
    """This host does not see the volume's new size."""

    nova_name, code, expected = "VolumeExtendFailed", 400, True

    def __init__(self, volume_id: str, reason: str) -> None:
        super().__init__(f"Volume {volume_id} could not be extended. Reason: {reason}")


class VolumeNotFound(InvalidVolume):
    nova_name, code = "VolumeNotFound", 404


class VolumeAttachmentNotFound(InvalidVolume):
    nova_name, code = "VolumeAttachmentNotFound", 404


class VolumeNotAttached(InvalidVolume):
    """Nova's records know no such volume of the server."""

    nova_name, code = "VolumeBDMNotFound", 404


class SnapshotNotFound(InvalidVolume):
    nova_name, code = "SnapshotNotFound", 404


class VolumeRequestInvalid(InvalidVolume):
    """Cinder refuses what it was asked for."""

    nova_name, code = "InvalidInput", 400


class VolumeForbidden(InvalidVolume):
    nova_name, code = "Forbidden", 403


class VolumeNotCreated(InvalidVolume):
    """A volume that was made for a server is not to be had."""

    nova_name, code = "VolumeNotCreated", 500

    def __init__(self, volume_id: str, seconds: int, attempts: int, status: str) -> None:
        super().__init__(
            f"Volume {volume_id} did not finish being created even after we waited {seconds} "
            f"seconds or {attempts} attempts. And its status is {status}."
        )


class BuildAborted(NovaLiteError):
    """What a server was asked to be built with cannot be had on any host."""

    nova_name, verdict, expected = "BuildAbortException", Verdict.ABORT, True

    def __init__(self, server_uuid: str, reason: str) -> None:
        super().__init__(f"Build of instance {server_uuid} aborted: {reason}")


class VolumeQuotaExceeded(InvalidVolume):
    nova_name, code = "OverQuota", 413


class VolumeServiceError(InvalidVolume):
    """Cinder or the storage behind it could not do what it should."""

    nova_name, code = "NovaException", 500


class VolumeServiceTooOld(InvalidVolume):
    nova_name, code = "CinderAPIVersionNotAvailable", 500


class DevicePathInUse(InvalidBlockDevice):
    nova_name, code = "DevicePathInUse", 409


class TooManyDiskDevices(InvalidBlockDevice):
    nova_name, code = "TooManyDiskDevices", 403


class DeviceDetachFailed(NovaLiteError):
    """The guest keeps a device that it was asked to give back."""

    nova_name, code, expected = "DeviceDetachFailed", 500, True

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(f"Device detach failed for {device}: {reason}")


class VolumeKeyUnavailable(NovaLiteError):
    """No key for an encrypted volume."""

    nova_name, code, expected = "KeyManagerError", 500, True


class TpmKeyUnavailable(NovaLiteError):
    """No key for an emulated TPM."""

    nova_name, code, expected = "KeyManagerError", 500, True

    def __init__(
        self,
        server_uuid: str,
        reason: str,
        owner: str = "It belongs to the server's user, who alone can start it",
    ) -> None:
        """:param owner: who it belongs to, and what follows from that"""
        super().__init__(f"the TPM of server {server_uuid} has no key: {reason}. {owner}")


class VolumeEncryptionUnsupported(InvalidVolume):
    """A volume is encrypted in a way that hypervisors do not open by themselves."""

    nova_name = "VolumeEncryptionNotSupported"
