"""Steps of a start that waits until Neutron has wired the ports up again.

[workarounds]wait_for_vif_plugged_event_during_hard_reboot names the vnic types for which hard
reboots and starts do so. The ports are unplugged first: Neutron reports a port that is plugged, and
has nothing to report of one that stayed.
"""

from __future__ import annotations

from nova_lite.model.network import Vif
from nova_lite.services import guest
from nova_lite.services.interfaces import unplug_port
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.network.ports import PlugInterfaces, WaitForPorts

# As ports.LOOKS, but not at once: until Neutron has seen that a port was unplugged it is active.
LATE_LOOKS = (3.0, 6.0, 15.0)


def waits_for_wiring(work: Work) -> bool:
    """Whether a start waits for any ports at all."""
    conf = work.tools.conf
    vnic_types = conf.workarounds.wait_for_vif_plugged_event_during_hard_reboot
    return bool(vnic_types and conf.vif_plugging_timeout)


def _awaited(work: Work) -> list[Vif]:
    vnic_types = work.tools.conf.workarounds.wait_for_vif_plugged_event_during_hard_reboot
    return [vif for vif in guest.vifs(work) if vif.vnic_type in vnic_types]


class UnplugAwaited(Step):
    """Unplug the ports that are waited for, and keep their events from now on; the guest is off."""

    name = "unplug_awaited"

    def do(self) -> None:
        self.tools.events.watch(self.work.uuid)
        for vif in _awaited(self.work):
            unplug_port(self.work, vif)


class PlugAgain(PlugInterfaces):
    """As PlugInterfaces, and wait for the ports that were unplugged instead of those not active."""

    def do(self) -> None:
        super().do()
        self.work.note(await_ports=[vif.id for vif in _awaited(self.work)])


class WaitForWiring(WaitForPorts):
    """As WaitForPorts, for a guest that ran before: it is powered off when it waits in vain."""

    looks = LATE_LOOKS
    shared = 0.0

    def _give_up(self, missing: set[str]) -> None:
        if self.tools.conf.vif_plugging_is_fatal:
            self.tools.hypervisor.destroy(self.work.uuid)
            self.tools.events.forget(self.work.uuid)
        super()._give_up(missing)
