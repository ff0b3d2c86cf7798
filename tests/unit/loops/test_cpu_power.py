"""When dedicated CPUs are put to rest."""

from __future__ import annotations

import pytest

from nova_lite.inventory.claims import Role, Sizes
from nova_lite.loops.schedule import periodic_tasks
from nova_lite.services.claiming import rest_cpus
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
    rested = []
    agent.tools.hypervisor.rest_cpus = lambda: rested.append(True)
    timer.tick()
    assert rested == [True]
    assert not timer._poked.is_set()
    host.hypervisor.emit("s1", "stopped")
    assert timer._poked.is_set()


def test_cpus_stay_up_that_a_guest_is_about_to_come_to(tmp_path):
    """It is on no CPU of this host yet, and would be refused on one that is off."""
    agent, rested = Host(tmp_path / "state").agent(), []
    agent.tools.hypervisor.rest_cpus = lambda: rested.append(True)
    agent.tools.claims.claim("s1", Sizes(1, 32), {"nova_object.data": {"cells": []}},
                             placed=True, role=Role.INCOMING)  # fmt: skip

    rest_cpus(agent.tools)
    assert rested == []

    agent.tools.claims.arrive("s1", stayed=False)
    rest_cpus(agent.tools)
    assert rested == [True]
