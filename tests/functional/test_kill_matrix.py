"""kill -9 at every boundary of every operation, on real libvirt: nothing is lost or leaks.

An agent's engine runs in a process of its own (``victim``) with stand-ins for the control plane
whose state is on disk. It is killed at one boundary: when a step begins, when it has ended, and
after each single effect that it had outside (a call of the conductor, a port, a tap, a guest). A
second process resumes from the journal; then all ledgers must look as if nothing had happened: the
server's record, faults and events, the hypervisor, the files, the taps, the ports, the allocations,
what was cast to the conductor, and the journal.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import libvirt
import pytest

from tests.functional.kill_host import build_arguments

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(900)]

AT_ONCE = 2  # hosts whose agents are killed in parallel
BOOT = "build_and_run_instance"
BDMS = {"bdms": build_arguments()["block_device_mapping"]}
HARD = {"reboot_type": "HARD", "block_device_info": None}
SOFT = {"reboot_type": "SOFT", "block_device_info": None}


@dataclass
class Scenario:
    """A server in ``start`` with ``task_state`` gets ``method`` and ends in ``vm_state``."""

    method: str
    arguments: dict[str, Any]
    vm_state: str
    domain: int | None
    start: str = "new"
    task_state: str = "scheduling"
    polite: bool = True
    how: dict[str, Any] = field(default_factory=dict)


RUNS, OFF = libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_SHUTOFF
FAIL = {"fail_start": True}
SCENARIOS = {
    "boot": Scenario(BOOT, build_arguments(), "active", RUNS),
    "boot, host fails": Scenario(BOOT, build_arguments(), "building", None, how=FAIL),
    "boot, fails, no retry": Scenario(BOOT, build_arguments(retry=False), "error", None, how=FAIL),
    "delete": Scenario("terminate_instance", BDMS, "deleted", None, "booted", "deleting"),
    "stop": Scenario(
        "stop_instance", {"clean_shutdown": True}, "stopped", OFF, "booted", "powering-off"
    ),
    "stop, deaf guest": Scenario(
        "stop_instance", {"clean_shutdown": True}, "stopped", OFF, "booted", "powering-off", False
    ),
    "start": Scenario("start_instance", {}, "active", RUNS, "stopped", "powering-on"),
    "reboot hard": Scenario("reboot_instance", HARD, "active", RUNS, "booted", "rebooting_hard"),
    "reboot soft": Scenario("reboot_instance", SOFT, "active", RUNS, "booted", "rebooting"),
    "reboot soft, deaf guest": Scenario(
        "reboot_instance", SOFT, "active", RUNS, "booted", "rebooting", False
    ),
}


def prepared(lab, scenario):
    """A host whose kept state is the scenario's beginning."""
    host = lab.host(polite=scenario.polite)
    if scenario.start != "new":
        host.boot()
    if scenario.start == "stopped":
        host.stop()
    host.set(task_state=scenario.task_state)
    host.keep()
    host.restore()
    return host


def undisturbed(host, scenario):
    """The boundaries passed, and how all looks in the end."""
    record = host.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    message = host.message(scenario.method, **scenario.arguments)
    assert host.run(message, record=str(record), **scenario.how)
    wanted = host.look()
    ends = wanted["vm_state"], wanted["domain"]
    assert ends == (scenario.vm_state, scenario.domain), host.lab.said()
    assert wanted["journal"] == []
    names = record.read_text().splitlines()
    assert len(names) > 8 and len(set(names)) == len(names)
    return names, wanted


def differences(host, scenario, boundaries, wanted):
    """Kill at each of the boundaries, resume, and compare."""
    found = {}
    for boundary in boundaries:
        host.restore()
        message = host.message(scenario.method, **scenario.arguments)
        if host.run(message, kill=boundary, **scenario.how):
            found[boundary] = "the victim did not pass it"
        host.run(**scenario.how)
        seen = host.look()
        if seen != wanted:
            found[boundary] = {k: (seen[k], wanted[k]) for k in wanted if seen[k] != wanted[k]}
    host.clear()
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_boundary_it_ends_as_without(lab, name):
    """Whatever boundary the agent dies at, its successor brings all ledgers to the same end."""
    scenario = SCENARIOS[name]
    hosts = [prepared(lab, scenario) for _ in range(AT_ONCE)]
    boundaries, wanted = undisturbed(hosts[0], scenario)
    with ThreadPoolExecutor(AT_ONCE) as workers:
        found = [
            workers.submit(differences, host, scenario, boundaries[turn::AT_ONCE], wanted)
            for turn, host in enumerate(hosts)
        ]
    wrong = {where: what for part in found for where, what in part.result().items()}
    assert not wrong, "\n".join(f"{where}: {what}" for where, what in wrong.items())
