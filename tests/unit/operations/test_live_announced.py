"""A guest that has come here by a live migration announces itself, where nova.conf asks for it."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.services.work import Signal
from tests.fakes.clock import ManualClock
from tests.unit.operations.live_hosts import POST, LiveHosts

ON = ("workarounds.enable_qemu_monitor_announce_self", True)
COUNT = "workarounds.qemu_monitor_announce_self_count"
INTERVAL = "workarounds.qemu_monitor_announce_self_interval"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def come(directory, *conf, before=lambda hosts: None):
    """A server that has come: the hosts, and the pauses in between."""
    hosts = LiveHosts(directory, conf=conf)
    hosts.pre(hosts.checked())
    hosts.arrive()
    before(hosts)
    clock = ManualClock()
    hosts.post(agent=hosts.agent(hosts.dest, clock=clock))
    assert hosts.state()[::2] == ("host2", None)
    return hosts, clock.slept


def announced(hosts):
    return hosts.dest.hypervisor.calls.count(("announce", hosts.server))


def test_nobody_asks_for_it_by_default(tmp_path):
    """QEMU has announced the guest when it went on."""
    hosts, _ = come(tmp_path)

    assert announced(hosts) == 0


def test_it_announces_itself_as_often_as_it_is_to(tmp_path):
    """Three times, a second apart, where only that is asked for."""
    hosts, slept = come(tmp_path, ON)

    assert (announced(hosts), slept) == (3, [1.0, 1.0])


def test_how_often_and_when_the_operator_says(tmp_path):
    hosts, slept = come(tmp_path, ON, (COUNT, 2), (INTERVAL, 5))

    assert (announced(hosts), slept) == (2, [5.0])


def test_its_ports_are_this_hosts_by_then(tmp_path):
    """Else the network would drop it."""
    bound = []

    def look(hosts):
        real = hosts.dest.hypervisor.announce

        def announce(uuid):
            bound.append(hosts.look()["bound"])
            real(uuid)

        hosts.dest.hypervisor.announce = announce

    come(tmp_path, ON, (COUNT, 1), before=look)

    assert bound == [["host2"]]


def test_it_is_here_though_it_does_not_announce_itself(tmp_path, caplog):
    """The rest goes on, and the next attempt is made."""

    def fail(hosts):
        hosts.dest.hypervisor.fail("announce", HypervisorError("no such command"))

    hosts, _ = come(tmp_path, ON, before=fail)

    assert announced(hosts) == 3
    assert "has not announced itself here: no such command" in caplog.text
    assert hosts.faults() == []


def test_a_guest_that_has_died_since_says_nothing(tmp_path):
    hosts, _ = come(tmp_path, ON, before=lambda h: h.dest.hypervisor.destroy(h.server))

    assert announced(hosts) == 0


def test_an_agent_that_stops_does_not_wait(tmp_path):
    """It has announced it once; the rest of the operation is done."""
    hosts = LiveHosts(tmp_path, conf=(ON, (INTERVAL, 3600)))
    hosts.pre(hosts.checked())
    hosts.arrive()
    agent = hosts.agent(hosts.dest)
    real = hosts.dest.hypervisor.announce

    def announce(uuid):
        real(uuid)
        assert agent.tools.signal(uuid, Signal.DRAIN, POST)

    hosts.dest.hypervisor.announce = announce
    hosts.post(agent=agent)

    assert announced(hosts) == 1
    assert hosts.look()["journal"] == []
