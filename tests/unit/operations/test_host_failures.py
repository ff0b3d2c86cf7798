"""Boots that fail by the fault of their host, at each of their steps."""

from __future__ import annotations

import pytest

from nova_lite.engine import patience
from nova_lite.errors import SwitchUnavailable
from tests.unit.operations.host import Host, build_arguments
from tests.unit.operations.test_power_failures import REBUILD


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setitem(patience.PATIENCE, SwitchUnavailable, 0.05)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def break_ports(host):
    """os-vif raises, as with a kernel that lacks a module."""
    plug = host.vifs.plug
    host.vifs.plug = lambda vif, **owner: (host.vifs.broken.add(vif.id), plug(vif, **owner))


def kill_switch(host):
    host.vifs.dead = True


@pytest.mark.parametrize("spoil", [break_ports, kill_switch])
@pytest.mark.parametrize("retry", [True, False])
def test_a_port_that_cannot_be_plugged(host, spoil, retry):
    """The next host gets the server, and nothing of it stays here; without one it is in ERROR."""
    spoil(host)
    host.run("build_and_run_instance", **build_arguments(retry=retry))

    seen = host.look()
    assert (seen["guest"], seen["taps"], seen["ports"], seen["files"]) == (None, 0, 0, [])
    # The next host takes the server over a moment after it was handed to the conductor.
    assert (seen["host"] != "host1", "host1" in (seen["allocations"] or {})) == (True, False)
    assert (seen["casts"], seen["vm_state"], seen["faults"], seen["journal"]) == (
        (["build_instances"], "building", 0, []) if retry else ([], "error", 1, [])
    )


@pytest.mark.parametrize(
    ("method", "task_state", "arguments", "vm_state"),
    [
        ("reboot_instance", "rebooting_hard", {"reboot_type": "HARD"}, "active"),
        ("rebuild_instance", "rebuilding", REBUILD, "error"),
    ],
)
def test_a_guest_that_would_not_start_again_is_left_alone(
    host, method, task_state, arguments, vm_state
):
    """The switch is dead: the guest goes on, its disks are as they were, and the user is told."""
    host.boot()
    before = host.look()["files"]
    kill_switch(host)
    host.set(task_state=task_state)

    host.run(method, request="req-2", **arguments)

    seen = host.look()
    assert (seen["guest"], seen["files"], seen["taps"]) == ("RUNNING", before, 1)
    assert (seen["vm_state"], seen["task_state"], seen["faults"]) == (vm_state, None, 1)
