"""Steps that take the interface of a port that was deleted from its server."""

from __future__ import annotations

import logging

from nova_lite.errors import DomainNotFound
from nova_lite.model.network import Vif
from nova_lite.model.states import PowerState, VmState
from nova_lite.services import guest
from nova_lite.services.interfaces import unplug_port
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)


class PortStep(Step):
    """A step about the interface of one port."""

    def __init__(self, work: Work, vif: Vif) -> None:
        super().__init__(work)
        self._vif = vif


class DetachNic(PortStep):
    """Take the network card from the guest, now and in its definition."""

    name = "detach_nic"

    def do(self) -> None:
        vif = self._vif
        self.tools.hypervisor.detach_nic(self.work.uuid, vif.mac, vif.devname)


class UnplugPort(PortStep):
    """Remove the port's host side."""

    name = "unplug_port"

    def do(self) -> None:
        unplug_port(self.work, self._vif)


class ForgetPort(PortStep):
    """Give back the resources that the port had, and drop it from the network cache."""

    name = "forget_port"

    def do(self) -> None:
        work = self.work
        # Stock leaves what the port had of Placement to the server, until that is deleted.
        self.tools.port_resources.release(
            work.context, work.uuid, self._vif.id, self._vif.profile
        )
        work.reload()  # whatever was saved since is kept
        left = [vif for vif in guest.vifs(work) if vif.id != self._vif.id]
        work.tools.info_caches.save(work.context, work.uuid, network_info.dump(left))
        LOG.info("Port %s of server %s was deleted: its interface is detached and unplugged",
                 self._vif.id, work.uuid)  # fmt: skip


def keeps_devices(work: Work) -> bool:
    """Whether the guest cannot release a device, or needs the tap when it goes on.

    It is paused, its memory is saved, or its own definition waits for the end of a rescue.
    """
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    if work.instance.get("vm_state") == VmState.RESCUED:
        return True
    try:
        held = hypervisor.power_state(uuid) in (PowerState.PAUSED, PowerState.SUSPENDED)
        return held or hypervisor.saved(uuid)
    except DomainNotFound:
        return False
