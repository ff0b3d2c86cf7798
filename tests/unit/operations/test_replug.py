"""[workarounds]wait_for_vif_plugged_event_during_hard_reboot: the guest runs when it is wired."""

from __future__ import annotations

import time

import pytest

from nova_lite.model.states import PowerState
from nova_lite.services.events import VIF_PLUGGED
from tests.fakes.one_host import OneHost


@pytest.fixture
def host(tmp_path):
    """A host with a server whose ports Neutron does not call active, nor tells of by itself."""
    host = OneHost(tmp_path)
    host.server = host.boot()
    host.conf.set_override(
        "wait_for_vif_plugged_event_during_hard_reboot", ["normal"], "workarounds"
    )
    with host.ledger.open() as content:
        content["ports_stay_down"] = True
    host.done = []
    for name in ("plug", "unplug"):
        remember(host, name)
    return host


def remember(host, name):
    real = getattr(host.vifs, name)

    def method(vif, **named):
        host.done.append((name, host.hypervisor.guests[host.server].state))
        return real(vif, **named)

    setattr(host.vifs, name, method)


def begin(host, method, task_state, **arguments):
    if method == "start_instance":
        host.hypervisor.destroy(host.server)
        host.conductor.set(host.server, vm_state="stopped", power_state=4)
    host.conductor.set(host.server, task_state=task_state)
    host.send(method, host.server, **arguments)


VERBS = [
    ("reboot_instance", "rebooting_hard", {"reboot_type": "HARD", "block_device_info": None}),
    ("start_instance", "powering-on", {}),
]


def wait_until(true):
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("method", "task_state", "arguments"), VERBS)
def test_the_guest_is_held_until_neutron_has_wired_it(host, method, task_state, arguments):
    """Its ports are unplugged while it is off, so that Neutron has something to report."""
    begin(host, method, task_state, **arguments)
    guest = host.hypervisor.guests[host.server]
    wait_until(lambda: guest.state == PowerState.PAUSED)
    time.sleep(0.1)
    assert guest.state == PowerState.PAUSED

    for port in list(host.vifs.ports):
        host.tools.events.deliver(host.server, VIF_PLUGGED, port, "completed")
    host.settle()

    assert host.row(host.server) == ("host1", "active", None, 1)
    assert host.guests()[host.server] == "RUNNING"
    assert host.done == [("unplug", PowerState.SHUTDOWN), ("plug", PowerState.SHUTDOWN)]


@pytest.mark.parametrize(
    ("fatal", "end"),
    [(True, ("host1", "error", None, "SHUTDOWN")), (False, ("host1", "active", None, "RUNNING"))],
)
def test_one_that_is_never_wired(host, fatal, end):
    """It ends in ERROR and off, as in nova-compute, unless vif_plugging_is_fatal is off."""
    host.conf.set_override("vif_plugging_timeout", 1)
    host.conf.set_override("vif_plugging_is_fatal", fatal)
    method, task_state, arguments = VERBS[0]

    begin(host, method, task_state, **arguments)
    host.settle()

    assert (*host.row(host.server)[:3], host.guests()[host.server]) == end
    assert not host.tools.events.deliver(host.server, VIF_PLUGGED, "p", "completed")


@pytest.mark.parametrize(
    ("option", "value", "group"),
    [
        ("wait_for_vif_plugged_event_during_hard_reboot", ["direct"], "workarounds"),
        ("wait_for_vif_plugged_event_during_hard_reboot", [], "workarounds"),
        ("vif_plugging_timeout", 0, None),
    ],
)
@pytest.mark.parametrize(("method", "task_state", "arguments"), VERBS)
def test_nothing_is_waited_for_otherwise(host, option, value, group, method, task_state, arguments):
    """Ports of other vnic types stay plugged."""
    host.conf.set_override(option, value, group)

    begin(host, method, task_state, **arguments)
    host.settle()

    assert host.row(host.server) == ("host1", "active", None, 1)
    assert [name for name, _ in host.done] == ["plug"]


def test_a_soft_reboot_waits_for_nothing(host):
    """Its ports stay plugged in nova-compute, too."""
    begin(host, "reboot_instance", "rebooting", reboot_type="SOFT", block_device_info=None)
    host.settle()

    assert host.row(host.server) == ("host1", "active", None, 1)
    assert "unplug" not in dict(host.done)
