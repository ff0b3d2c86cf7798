"""When dedicated CPUs are put to rest."""

from __future__ import annotations

import pytest

from nova_lite.loops.schedule import periodic_tasks
from tests.unit.operations.host import Host


@pytest.mark.parametrize("periodic", [True, False])
def test_cpus_rest_at_start_and_when_a_guest_goes_off(tmp_path, periodic):
    """Only with [libvirt]cpu_power_management, and also without periodic tasks."""
    host = Host(tmp_path / "state")
    host.conf.set_override("periodic_enable", periodic)
    agent = host.agent()

    def timers():
        found = periodic_tasks(host.conf, agent.tools, agent.engine)
        return [timer for timer in found if timer.name == "power of dedicated CPUs"]

    assert timers() == []
    host.conf.set_override("cpu_power_management", True, "libvirt")
    (timer,) = timers()

    assert timer._first == 0.0
    assert timer.tick == agent.tools.hypervisor.rest_cpus
    assert not timer._poked.is_set()
    host.hypervisor.emit("s1", "stopped")
    assert timer._poked.is_set()
