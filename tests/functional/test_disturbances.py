"""What else may happen to an operation: absent daemons, second messages, no room."""

from __future__ import annotations

import threading
import time

import libvirt
import pytest

from tests.functional.kill_host import build_arguments
from tests.functional.scenarios import (
    BDMS,
    BOOT,
    GONE,
    SCENARIOS,
    parts,
    prepared,
    without_images,
)

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]


@pytest.fixture
def host(lab):
    """A host to which a server was scheduled."""
    made = lab.host()
    yield made
    made.clear()


def boot_message(host):
    return host.message(BOOT, **build_arguments())


class Paused:
    """A boot that waits at a boundary while the block runs, and is awaited afterwards."""

    def __init__(self, host, boundary):
        self._host, self._name = host, host.state / "pause"
        order = {"at": {boundary: {"pause": self._name.name}}}
        self._thread = threading.Thread(
            target=host.run, args=[boot_message(host)], kwargs=order
        )

    def __enter__(self):
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._name.with_suffix(".reached").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def go(self):
        self._name.with_suffix(".go").touch()

    def __exit__(self, *_):
        self.go()
        self._thread.join(120)


@pytest.mark.parametrize("boundary", ["take_server:begin", "start_guest:end"])
def test_a_boot_waits_for_an_absent_conductor(host, boundary):
    """It goes on when the conductor is back."""
    with Paused(host, f"{BOOT}:{boundary}") as boot:
        host.conductor.away.touch()
        boot.go()
        time.sleep(1.5)
        assert host.domain_state() == (libvirt.VIR_DOMAIN_RUNNING if "start" in boundary else None)
        host.conductor.away.unlink()

    seen = host.look()
    assert (seen["vm_state"], seen["domain"]) == ("active", libvirt.VIR_DOMAIN_RUNNING)
    assert (seen["faults"], seen["journal"]) == (set(), [])


@pytest.mark.parametrize("boundary", ["define_guest:begin", "define_guest:end", "start_guest:end"])
def test_libvirtd_is_killed_in_the_middle_of_a_boot(host, boundary):
    """The boot waits for its successor; a guest that was started keeps running."""
    with Paused(host, f"{BOOT}:{boundary}") as boot:
        host.lab.daemon.kill_libvirtd()
        boot.go()
        time.sleep(1.0)
        host.lab.daemon.start_libvirtd()

    seen = host.look()
    assert (seen["vm_state"], seen["domain"]) == ("active", libvirt.VIR_DOMAIN_RUNNING)
    assert (seen["faults"], seen["journal"], seen["taps"]) == (set(), [], 1)


def delete_message(host):
    """What the API sends after it has set the task state."""
    message = host.message("terminate_instance", **BDMS)
    message["args"]["instance"]["nova_object.data"].update(task_state="deleting")
    return message


@pytest.mark.parametrize(
    ("boundary", "after"),
    [
        ("fetch_images:begin", {}),
        ("define_guest:end", {}),
        ("wait_for_ports:begin", {"after": 0.5}),
    ],
)
def test_a_server_is_deleted_while_it_boots(host, boundary, after):
    """The boot gives up at once and in silence, the delete follows, and nothing is left."""
    with host.ledger.open() as content:
        content["ports_stay_down"] = True
    began = time.monotonic()
    assert host.run(
        boot_message(host),
        at={f"{BOOT}:{boundary}": {"deliver": delete_message(host),
                                   "set": {"task_state": "deleting"}, **after}},
    )  # fmt: skip

    seen = without_images(host.look())
    assert parts(seen, GONE) == GONE
    assert (seen["vm_state"], seen["deleted"], seen["faults"]) == ("deleted", True, set())
    assert time.monotonic() - began < 100  # the ports would be waited for 300 s


def test_a_delete_that_knows_no_ports_yet(host):
    """The API may have read the server before its boot recorded the ports."""
    early = delete_message(host)
    host.boot()
    host.set(task_state="deleting")

    assert host.run(early)

    seen = without_images(host.look())
    assert parts(seen, GONE) == GONE


def test_a_delete_that_waited_for_the_boot_of_a_killed_agent(host):
    """Killed with both promised, the successor does not start the guest again."""
    with host.ledger.open() as content:
        content["ports_stay_down"] = True
    delete = {"deliver": delete_message(host), "set": {"task_state": "deleting"}}
    host.run(
        boot_message(host),
        at={
            f"{BOOT}:wait_for_ports:begin": delete,
            "terminate_instance:accepted": {"kill": True},
        },
    )
    assert host.domain_state() is not None
    record = host.lab.directory / "boundaries"
    record.unlink(missing_ok=True)

    assert host.run(record=str(record))

    seen = without_images(host.look())
    assert parts(seen, GONE) == GONE
    assert "hypervisor.start#1" not in record.read_text().splitlines()


def test_the_server_was_deleted_while_its_agent_was_dead(host):
    """The API deletes the record, the ports and the allocation itself; the host is cleaned."""
    with host.ledger.open() as content:
        content["ports_stay_down"] = True
    host.run(boot_message(host), kill=f"{BOOT}:start_guest:end")
    host.set(deleted=True)
    with host.ledger.open() as content:
        content.update(ports={}, allocations={})
    began = time.monotonic()

    assert host.run()

    assert parts(without_images(host.look()), GONE) == GONE
    assert time.monotonic() - began < 100


def test_the_record_was_deleted_while_the_agent_was_dead_in_a_delete(lab):
    """Whoever finds the record gone still cleans the host."""
    scenario = SCENARIOS["delete"]
    host = prepared(lab, scenario)
    host.run(host.message(scenario.method, **BDMS), kill="terminate_instance:accepted")
    host.set(deleted=True)
    with host.conductor.database() as tables:
        tables["VirtualInterface"] = {}
    with host.ledger.open() as content:
        content.update(ports={}, allocations={})

    assert host.run()

    seen = without_images(host.look())
    assert parts(seen, GONE) == GONE
    assert seen["faults"] == set()
    assert ("compute_terminate_instance", "finish", None) in seen["events"]
    host.clear()


@pytest.mark.parametrize("name", ["boot", "stop", "start", "reboot hard", "delete"])
def test_a_message_comes_again_after_a_restart(lab, name):
    """The broker lost the acknowledgement: whoever did it before does it no second time."""
    scenario = SCENARIOS[name]
    host = prepared(lab, scenario)
    message = host.message(scenario.method, **scenario.arguments)
    assert host.run(message)
    wanted = host.look()
    calls = len(host.conductor.read()["calls"])

    assert host.run(message)

    assert host.look() == wanted
    assert len(host.conductor.read()["calls"]) == calls
    host.clear()


def test_no_room_for_the_disks_of_a_boot(host):
    """The next host is tried and nothing stays behind."""
    instances = host.state / "instances"
    host.lab.daemon.run("mount", "-t", "tmpfs", "-o", "size=1228k", "tmpfs", str(instances))
    try:
        assert host.run(boot_message(host))

        seen = without_images(host.look())
        wanted = {**GONE, "casts": ["build_instances"], "allocations": {"host2": {"VCPU": 1}}}
        assert parts(seen, wanted) == wanted
        assert (seen["vm_state"], seen["host"]) == ("building", "host2")
        outcome = {event[2] for event in seen["events"] if event[1] == "finish"}
        assert any("No room" in text for text in outcome)
    finally:
        host.lab.daemon.run("umount", "-l", str(instances))
