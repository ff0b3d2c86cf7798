"""libvirt's domain states and ours."""

from __future__ import annotations

import libvirt

from nova_lite.model.states import PowerState

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    # The guest has finished, QEMU is on its way out.
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
# States of a domain without a QEMU process.
OFF_STATES = (libvirt.VIR_DOMAIN_SHUTOFF,)


def power_state(state: int) -> PowerState:
    """The PowerState of a virDomainState; NOSTATE for one that is not known."""
    return _STATES.get(state, PowerState.NOSTATE)
