"""The VIF contract: make a port's host side exist, and tell the hypervisor how to use it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nova_lite.errors import VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class VifDriver(ABC):
    """Plugs ports of one kind: those of the vif_type and vnic_type that its entry point names.

    ``VifDrivers`` is one, too: that of all kinds of a host.

    May raise VifPlugError (the message names port and cause), SwitchUnavailable where the switch
    does not answer, and VifTypeUnsupported.
    """

    @property
    def uses_switch(self) -> bool:
        """Whether the host has shown that it needs its switch, which ``check`` asks."""
        return False

    def prepare(self) -> None:  # noqa: B027  most have nothing to load
        """Load what the first plug needs; done by itself then, repeating is free.

        :raises VifPlugError: it cannot be loaded
        """

    def check(self) -> None:
        """Return when the host's switch answers, raise SwitchUnavailable when not, in seconds.

        A kind without a switch has nothing to ask.
        """
        return

    def needs_switch(self, vif: Vif) -> bool:
        """Whether the port can be plugged only while the host's switch answers."""
        return False

    def require(self, vif: Vif) -> None:
        """Return when the port can be plugged as Neutron describes it: profile and details.

        :raises VifTypeUnsupported: it says what is wrong with them
        :raises PortBindingFailed: Neutron has bound it to nothing on this host
        """
        return

    def supports(self, vif: Vif) -> bool:
        """Whether this driver can plug the port."""
        try:
            self.require(vif)
        except VifTypeUnsupported:
            return False
        return True

    @abstractmethod
    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """Create the host side of the port; repeating it changes nothing."""

    @abstractmethod
    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """Remove the host side of the port; nothing to remove is success."""

    @abstractmethod
    def plugged(self, vif: Vif) -> bool:
        """Whether the host side exists now."""

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        """The interfaces that the host itself says it has, by the uuid of their server; enough of
        each to unplug it.

        Only a switch that keeps whose they are can tell, as Open vSwitch does.

        :param server_uuid: look for this server's only
        """
        return {}

    @abstractmethod
    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        """How the guest definition refers to the plugged port.

        :param model, queues: what flavor, image and nova.conf say of emulated network cards
        """
