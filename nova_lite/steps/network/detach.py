"""Steps that detach one interface from its server; the guest is first, the records are last."""

from __future__ import annotations

from nova_lite.errors import (
    DeviceDetachFailed,
    HypervisorError,
    HypervisorUnavailable,
    InterfaceDetachFailed,
)
from nova_lite.services import guest
from nova_lite.steps.network.attach import save_cache
from nova_lite.steps.network.deleted import PortStep


class UnplugNic(PortStep):
    """Take the network card from the guest, now and in its definition."""

    name = "unplug_nic"

    def do(self) -> None:
        vif, uuid = self._vif, self.work.uuid
        try:
            self.tools.hypervisor.detach_nic(uuid, vif.mac, vif.devname)
        except HypervisorUnavailable:
            raise
        except (DeviceDetachFailed, HypervisorError) as error:
            raise InterfaceDetachFailed(
                f"Failed to detach network adapter device from {uuid}: {error.message}"
            ) from error


class ReleasePort(PortStep):
    """Delete the port if it was made for the server, else unbind it; give its resources back."""

    name = "release_port"

    def do(self) -> None:
        work, vif = self.work, self._vif
        self.tools.ports.attachments.release(work.context, work.uuid, vif.id, made=not vif.preserve)
        self.tools.port_resources.release(work.context, work.uuid, vif.id, vif.profile)


class ForgetInterface(PortStep):
    """Remove the port's VirtualInterface record, and the port from the network cache."""

    name = "forget_interface"

    def do(self) -> None:
        work, vif = self.work, self._vif
        self.tools.interfaces.delete(work.context, vif.id)
        save_cache(work, [other for other in guest.vifs(work) if other.id != vif.id])
