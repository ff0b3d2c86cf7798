"""The VIF contract: make a port's host side exist, and tell the hypervisor how to use it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class VifDriver(ABC):
    """Plugs ports of some vif types.

    May raise VifPlugError (the message names port and cause), SwitchUnavailable where the switch
    does not answer, and VifTypeUnsupported.

    ``uses_switch``: the host has shown that it needs its switch, which ``check`` asks.
    """

    uses_switch = False

    @abstractmethod
    def check(self) -> None:
        """Return when the host's switch answers, raise SwitchUnavailable when not, in seconds."""

    @abstractmethod
    def supports(self, vif: Vif) -> bool:
        """Whether this driver can plug the port (vif_type, vnic_type, details)."""

    @abstractmethod
    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """Create the host side of the port; repeating it changes nothing."""

    @abstractmethod
    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        """Remove the host side of the port; nothing to remove is success."""

    @abstractmethod
    def plugged(self, vif: Vif) -> bool:
        """Whether the host side exists now."""

    @abstractmethod
    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        """The interfaces that the host itself says it has, by the uuid of their server; enough of
        each to unplug it.

        Only those of Open vSwitch, which keeps whose they are.

        :param server_uuid: look for this server's only
        """

    @abstractmethod
    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        """How the guest definition refers to the plugged port."""
