"""Errors of guests and the hypervisor."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class HypervisorUnavailable(NovaLiteError):
    nova_name, code, expected = "HypervisorUnavailable", 503, True


class HypervisorTooOld(NovaLiteError):
    nova_name, expected = "InternalError", True


class HypervisorError(NovaLiteError):
    nova_name = "InternalError"


class GuestRefused(HypervisorError):
    """The hypervisor does not do it, with a reason that is this host's: a missing kernel module, an
    emulator without the device. Another host may do it."""

    expected = True


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

    nova_name, code, expected, refusal = "AttachInterfaceNotSupported", 400, True, True


class UnsupportedByHost(NovaLiteError):
    """Valid, but this host cannot do it; another one may."""

    nova_name, code, expected = "ComputeResourcesUnavailable", 500, True


class UnsupportedHardware(UnsupportedByHost):
    """The image asks for a device model that the hypervisor's kind of guests cannot have."""

    nova_name, code = "UnsupportedHardware", 400


class ResourcesUnavailable(NovaLiteError):
    nova_name, expected = "ComputeResourcesUnavailable", True


class GroupPolicyViolation(NovaLiteError):
    nova_name, expected = "GroupAffinityViolation", True
