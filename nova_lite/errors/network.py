"""Errors of ports and networks."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


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


class FixedIpInvalid(NetworkRequestInvalid):
    """No subnet of the network has such an address.

    Stock raises InvalidInput, which nova-api does not know as the answer of an attach (HTTP 500).
    """

    nova_name, code = "PortNotUsable", 400


class NoMoreFixedIps(NetworkRequestInvalid):
    nova_name, code = "NoMoreFixedIps", 400


class PortLimitExceeded(NetworkRequestInvalid):
    nova_name, code = "PortLimitExceeded", 403


class SecurityGroupNotFound(NetworkRequestInvalid):
    nova_name, code = "SecurityGroupNotFound", 404


class NetworkNotFound(NetworkRequestInvalid):
    nova_name, code = "NetworkNotFound", 404


class NetworkNotFoundForInstance(NetworkRequestInvalid):
    """The server has no port on a network, or none of its ports gets an address there."""

    nova_name, code = "NetworkNotFoundForInstance", 404


class FixedIpNotFoundForInstance(NetworkRequestInvalid):
    """No port of the server has the address."""

    nova_name, code = "FixedIpNotFoundForInstance", 404


class NetworkWithGuaranteedRate(NetworkRequestInvalid):
    """A port made on this network would ask for resources that nobody has scheduled."""

    nova_name, code = "NetworksWithQoSPolicyNotSupported", 400


class PortResourcesUnknown(NetworkRequestInvalid):
    """The request names no resource provider for a port that asks for resources."""

    nova_name, code = "PortUpdateFailed", 400


class InterfaceAttachResourceAllocationFailed(NetworkRequestInvalid):
    """The host has not got left what a port asks for."""

    nova_name, code = "InterfaceAttachResourceAllocationFailed", 400


class PortChanged(NetworkRequestInvalid):
    """A port is not as it was read any more: read again."""

    nova_name, code = "PortUpdateFailed", 409


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


class InvalidDnsName(NetworkRequestInvalid):
    """Neutron does not take the server's name for a port."""

    nova_name, code = "InvalidInput", 400


class FixedIpInvalidOnHost(NetworkRequestInvalid):
    nova_name, code = "FixedIpInvalidOnHost", 400


class PortNotAttached(NetworkRequestInvalid):
    nova_name, code = "PortNotFound", 404


class InterfaceAttachFailed(NovaLiteError):
    """The port is the server's, but this host cannot give it to the guest."""

    nova_name, code, expected = "InterfaceAttachFailed", 500, True


class InterfaceDetachFailed(NovaLiteError):
    """The guest keeps the interface."""

    nova_name, code, expected = "InterfaceDetachFailed", 500, True


class PortBindingFailed(NovaLiteError):
    """Neutron bound the port to no mechanism on this host."""

    nova_name, expected = "PortBindingFailed", True


class PortBindingNotFound(NetworkRequestInvalid):
    """A port has no binding to a host."""

    nova_name, code = "PortBindingActivationFailed", 404


class PortBindingExists(NetworkRequestInvalid):
    """A port has the binding already, or it is active."""

    nova_name, code = "PortBindingActivationFailed", 409


class VifPlugError(NovaLiteError):
    """This host could not make, or remove, the host side of a port."""

    nova_name, code = "VirtualInterfacePlugException", 500


class SwitchUnavailable(VifPlugError):
    """Open vSwitch does not answer; it may be back soon."""

    expected = True


class VifPlugTimeout(NovaLiteError):
    nova_name, code, verdict, expected = "VirtualInterfaceCreateException", 500, Verdict.ABORT, True


class VifTypeUnsupported(NovaLiteError):
    """This host cannot serve ports of that kind; another one may."""

    nova_name, code, expected = "VirtualInterfacePlugException", 500, True
