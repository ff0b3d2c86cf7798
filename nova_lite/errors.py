"""The one table of errors: what each means to the user, to the API and to the operation engine.

A row is a class. ``nova_name`` is the exception name that nova-api and nova-conductor know (module
``nova.exception``), ``code`` its HTTP meaning, ``verdict`` what a failed boot does with it, and
``expected`` whether it is somebody's mistake (logged in one line) rather than ours (traceback).
Messages name the thing and the remedy and never hold a secret.
"""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """What a boot that met the error does."""

    RESCHEDULE = "reschedule"  # this host's fault: try the next one
    ABORT = "abort"  # the request's fault: ERROR with a fault
    GONE = "gone"  # the user deleted the server meanwhile: clean up in silence


class NovaLiteError(Exception):
    """Root of all errors raised on purpose; ``message`` is shown to the user.

    ``details`` are arguments of nova's exception from which the API makes a message of its own.
    """

    nova_name = "NovaException"
    code = 500
    verdict = Verdict.RESCHEDULE
    expected = False

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


# --- hypervisor -----------------------------------------------------------------------------
class HypervisorUnavailable(NovaLiteError):
    nova_name, code, expected = "HypervisorUnavailable", 503, True


class HypervisorTooOld(NovaLiteError):
    nova_name, expected = "InternalError", True


class HypervisorError(NovaLiteError):
    nova_name = "InternalError"


class VolumeUnusable(HypervisorError):
    """QEMU cannot open a volume, so that its guest does not start."""

    nova_name, expected = "InvalidVolume", True

    def __init__(self, volume_id: str, target: str, reason: str) -> None:
        super().__init__(
            f"volume {volume_id} ({target}) cannot be opened: {reason}. If deleted: stop the "
            "server and detach it; hard reboot if Cinder has lost it"
        )


class DomainNotFound(NovaLiteError):
    nova_name, code, expected = "InstanceNotFound", 404, True


class GuestAgentNotEnabled(NovaLiteError):
    """The guest has no channel to a QEMU guest agent."""

    nova_name, code, expected = "QemuGuestAgentNotEnabled", 400, True

    def __init__(self, server_uuid: str) -> None:
        super().__init__(
            f"QEMU guest agent is not enabled for instance {server_uuid}; its image needs the "
            "property hw_qemu_guest_agent=yes and qemu-guest-agent in it"
        )


class GuestAgentUnresponsive(NovaLiteError):
    """There is a channel, but no agent answers."""

    nova_name, code, expected = "InstanceQuiesceFailed", 409, True


class PasswordUnsupported(NovaLiteError):
    """The API answers 501."""

    nova_name, code, expected = "NotImplementedError", 501, True


class PasswordNotSet(NovaLiteError):
    nova_name, code, expected = "InstancePasswordSetFailed", 409, True

    def __init__(self, server_uuid: str, reason: str) -> None:
        super().__init__(f"Failed to set admin password on {server_uuid} because {reason}")


class GuestNotRunning(HypervisorError):
    nova_name, code, expected = "InstanceNotRunning", 409, True


class NoFreeSlot(HypervisorError):
    """The guest's board has no place left for another device."""

    expected = True


class CrashDumpUnsupported(NovaLiteError):
    nova_name, code, expected = "TriggerCrashDumpNotSupported", 400, True


class InvalidGuestConfig(NovaLiteError):
    """Flavor or image ask for something invalid or impossible here."""

    nova_name, code, verdict, expected = "Invalid", 400, Verdict.ABORT, True


class AttachInterfaceUnsupported(NovaLiteError):
    """nova-api knows no 501 for it."""

    nova_name, code, expected = "AttachInterfaceNotSupported", 400, True


class UnsupportedByHost(NovaLiteError):
    """Valid, but this host cannot do it; another one may."""

    nova_name, code, expected = "ComputeResourcesUnavailable", 500, True


# --- capacity -------------------------------------------------------------------------------
class ResourcesUnavailable(NovaLiteError):
    nova_name, expected = "ComputeResourcesUnavailable", True


class GroupPolicyViolation(NovaLiteError):
    nova_name, expected = "GroupAffinityViolation", True


# --- image and disk -------------------------------------------------------------------------
class ImageNotFound(NovaLiteError):
    nova_name, code, verdict, expected = "ImageNotFound", 404, Verdict.ABORT, True


class ImageNotAuthorized(NovaLiteError):
    nova_name, code, verdict, expected = "ImageNotAuthorized", 403, Verdict.ABORT, True


class ImageUnavailable(NovaLiteError):
    nova_name, code, expected = "GlanceConnectionFailed", 503, True


class ImageCorrupt(NovaLiteError):
    nova_name, code, verdict, expected = "ImageUnacceptable", 400, Verdict.ABORT, True


class ImageUnacceptable(NovaLiteError):
    nova_name, code, verdict, expected = "ImageUnacceptable", 400, Verdict.ABORT, True


class ImageQuotaExceeded(NovaLiteError):
    nova_name, code, verdict, expected = "ImageQuotaExceeded", 413, Verdict.ABORT, True


class FlavorDiskTooSmall(NovaLiteError):
    nova_name, code, verdict, expected = "FlavorDiskSmallerThanImage", 400, Verdict.ABORT, True


class FlavorMemoryTooSmall(NovaLiteError):
    nova_name, code, verdict, expected = "FlavorMemoryTooSmall", 400, Verdict.ABORT, True


class DiskFull(NovaLiteError):
    nova_name, expected = "ComputeResourcesUnavailable", True


class DiskError(NovaLiteError):
    nova_name = "InternalError"


class ConfigDriveError(NovaLiteError):
    nova_name = "ConfigDriveMkfsFailed"


# --- network --------------------------------------------------------------------------------
class NetworkUnavailable(NovaLiteError):
    """Neutron does not answer."""

    nova_name, code, expected = "NeutronAdminCredentialConfigurationInvalid", 503, True


class NetworkRequestInvalid(NovaLiteError):
    """The request names a network, port or address that cannot be used."""

    nova_name, code, verdict, expected = "NetworkNotFound", 400, Verdict.ABORT, True


class PortNotUsable(NetworkRequestInvalid):
    nova_name, code = "PortNotUsable", 400


class PortInUse(NetworkRequestInvalid):
    nova_name, code = "PortInUse", 409


class PortNotFound(NetworkRequestInvalid):
    nova_name, code = "PortNotFound", 404


class NetworkAmbiguous(NetworkRequestInvalid):
    nova_name, code = "NetworkAmbiguous", 409


class FixedIpInUse(NetworkRequestInvalid):
    nova_name, code = "FixedIpAlreadyInUse", 409


class NoMoreFixedIps(NetworkRequestInvalid):
    nova_name, code = "NoMoreFixedIps", 400


class PortLimitExceeded(NetworkRequestInvalid):
    nova_name, code = "PortLimitExceeded", 403


class SecurityGroupNotFound(NetworkRequestInvalid):
    nova_name, code = "SecurityGroupNotFound", 404


class NetworkNotFound(NetworkRequestInvalid):
    nova_name, code = "NetworkNotFound", 404


class NetworkResourceNotFound(NetworkRequestInvalid):
    """Something else in Neutron is not there, or the user may not see it."""

    nova_name, code = "NotFound", 404


class NoNetworkAvailable(NetworkRequestInvalid):
    nova_name, code = "InterfaceAttachFailedNoNetwork", 400


class AutoAllocationFailed(NetworkRequestInvalid):
    nova_name, code = "UnableToAutoAllocateNetwork", 400


class ExternalNetworkForbidden(NetworkRequestInvalid):
    nova_name, code = "ExternalNetworkAttachForbidden", 403


class SecurityGroupAmbiguous(NetworkRequestInvalid):
    nova_name, code = "NoUniqueMatch", 409


class SecurityGroupCannotBeApplied(NetworkRequestInvalid):
    nova_name, code = "SecurityGroupCannotBeApplied", 400


class PortNotUsableDns(NetworkRequestInvalid):
    nova_name, code = "PortNotUsableDNS", 400


class FixedIpInvalidOnHost(NetworkRequestInvalid):
    nova_name, code = "FixedIpInvalidOnHost", 400


class PortBindingFailed(NovaLiteError):
    """Neutron bound the port to no mechanism on this host."""

    nova_name, expected = "PortBindingFailed", True


class VifPlugError(NovaLiteError):
    nova_name, code, verdict = "VirtualInterfacePlugException", 500, Verdict.ABORT


class VifPlugTimeout(NovaLiteError):
    nova_name, code, verdict, expected = "VirtualInterfaceCreateException", 500, Verdict.ABORT, True


class VifTypeUnsupported(NovaLiteError):
    nova_name, code, verdict, expected = "VirtualInterfacePlugException", 500, Verdict.ABORT, True


# --- block devices --------------------------------------------------------------------------
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


class VolumeAttachFailed(NovaLiteError):
    """This host cannot reach the volume."""

    nova_name, code, verdict, expected = "VolumeAttachFailed", 400, Verdict.ABORT, True

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


class VolumeEncryptionUnsupported(InvalidVolume):
    """A volume is encrypted in a way that hypervisors do not open by themselves."""

    nova_name = "VolumeEncryptionNotSupported"


# --- shares ---------------------------------------------------------------------------------
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


# --- control plane --------------------------------------------------------------------------
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
    nova_name, code, verdict, expected = "UnexpectedTaskStateError", 409, Verdict.GONE, True


class ConductorError(NovaLiteError):
    """The conductor answered with an exception that means nothing special here."""

    nova_name = "NovaException"


class ServiceTooOld(NovaLiteError):
    nova_name, expected = "ServiceTooOld", True


class HostIdentityError(NovaLiteError):
    """compute_id, host name or existing guests do not match the Service and ComputeNode records."""

    nova_name, expected = "InvalidConfiguration", True


class InvalidConfiguration(NovaLiteError):
    nova_name, expected = "InvalidConfiguration", True


# --- requests to this agent -----------------------------------------------------------------
class MalformedMessage(NovaLiteError):
    """A message that cannot be decoded or lacks an argument."""

    nova_name, code, expected = "Invalid", 400, True


class ServerNotReady(NovaLiteError):
    nova_name, code, expected = "InstanceNotReady", 409, True


class ServerInvalidState(NovaLiteError):
    nova_name, code, expected = "InstanceInvalidState", 409, True


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


class EvacuationUnsupported(NovaLiteError):
    nova_name, code, verdict, expected = "InstanceEvacuateNotSupported", 400, Verdict.ABORT, True


class CertificatesUnsupported(NovaLiteError):
    nova_name, code, verdict, expected = "BuildAbortException", 400, Verdict.ABORT, True


class PowerOffFailure(NovaLiteError):
    nova_name, code = "InstancePowerOffFailure", 500


class AnswerLost(NovaLiteError):
    """Whoever called does not wait any more, or what was returned to him is not known any more."""

    expected = True


class JournalError(NovaLiteError):
    """The journal cannot be written: nothing is started that could not be resumed."""

    nova_name = "InternalError"
