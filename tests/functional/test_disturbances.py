"""What else may happen to an operation: absent daemons, second messages, no room."""

from __future__ import annotations

import threading
import time

import libvirt
import pytest

from tests.functional import prepare
from tests.functional.messages import build_arguments
from tests.functional.scenario_ends import parts, prepared, without_images
from tests.functional.scenarios import BDMS, BOOT, GONE, SCENARIOS

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]


@pytest.fixture
def trial(lab):
    """A host to which a server was scheduled."""
    made = lab.trial()
    yield made
    made.clear()


def boot_message(trial):
    return trial.message(BOOT, **build_arguments())


class Paused:
    """A boot that waits at a boundary while the block runs, and is awaited afterwards."""

    def __init__(self, trial, boundary):
        self._trial, self._name = trial, trial.host.state / "pause"
        order = {"at": {boundary: {"pause": self._name.name}}}
        self._thread = threading.Thread(
            target=trial.run, args=[boot_message(trial)], kwargs=order
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
def test_a_boot_waits_for_an_absent_conductor(trial, boundary):
    """It goes on when the conductor is back."""
    with Paused(trial, f"{BOOT}:{boundary}") as boot:
        trial.conductor.away.touch()
        boot.go()
        time.sleep(1.5)
        started = libvirt.VIR_DOMAIN_RUNNING if "start" in boundary else None
        assert trial.host.domain_state() == started
        trial.conductor.away.unlink()

    seen = trial.look()
    assert (seen["vm_state"], seen["domain"]) == ("active", libvirt.VIR_DOMAIN_RUNNING)
    assert (seen["faults"], seen["journal"]) == (set(), [])


@pytest.mark.parametrize("boundary", ["define_guest:begin", "define_guest:end", "start_guest:end"])
def test_libvirtd_is_killed_in_the_middle_of_a_boot(trial, boundary):
    """The boot waits for its successor; a guest that was started keeps running."""
    with Paused(trial, f"{BOOT}:{boundary}") as boot:
        trial.host.daemon.kill_libvirtd()
        boot.go()
        time.sleep(1.0)
        trial.host.daemon.start_libvirtd()

    seen = trial.look()
    assert (seen["vm_state"], seen["domain"]) == ("active", libvirt.VIR_DOMAIN_RUNNING)
    assert (seen["faults"], seen["journal"], seen["taps"]) == (set(), [], 1)


def delete_message(trial):
    """What the API sends after it has set the task state."""
    message = trial.message("terminate_instance", **BDMS)
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
def test_a_server_is_deleted_while_it_boots(trial, boundary, after):
    """The boot gives up at once and in silence, the delete follows, and nothing is left."""
    with trial.ledger.open() as content:
        content["ports_stay_down"] = True
    began = time.monotonic()
    assert trial.run(
        boot_message(trial),
        at={f"{BOOT}:{boundary}": {"deliver": delete_message(trial),
                                   "set": {"task_state": "deleting"}, **after}},
    )  # fmt: skip

    seen = without_images(trial.look())
    assert parts(seen, GONE) == GONE
    assert (seen["vm_state"], seen["deleted"], seen["faults"]) == ("deleted", True, set())
    assert time.monotonic() - began < 100  # the ports would be waited for 300 s


def test_a_delete_that_knows_no_ports_yet(trial):
    """The API may have read the server before its boot recorded the ports."""
    early = delete_message(trial)
    prepare.boot(trial)
    trial.set(task_state="deleting")

    assert trial.run(early)

    seen = without_images(trial.look())
    assert parts(seen, GONE) == GONE


def test_a_delete_that_waited_for_the_boot_of_a_killed_agent(trial):
    """Killed with both promised, the successor does not start the guest again."""
    with trial.ledger.open() as content:
        content["ports_stay_down"] = True
    delete = {"deliver": delete_message(trial), "set": {"task_state": "deleting"}}
    trial.run(
        boot_message(trial),
        at={
            f"{BOOT}:wait_for_ports:begin": delete,
            "terminate_instance:accepted": {"kill": True},
        },
    )
    assert trial.host.domain_state() is not None
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)

    assert trial.run(record=str(record))

    seen = without_images(trial.look())
    assert parts(seen, GONE) == GONE
    assert "hypervisor.start#1" not in record.read_text().splitlines()


def test_the_server_was_deleted_while_its_agent_was_dead(trial):
    """The API deletes the record, the ports and the allocation itself; the host is cleaned."""
    with trial.ledger.open() as content:
        content["ports_stay_down"] = True
    trial.run(boot_message(trial), kill=f"{BOOT}:start_guest:end")
    trial.set(deleted=True)
    with trial.ledger.open() as content:
        content.update(ports={}, allocations={})
    began = time.monotonic()

    assert trial.run()

    assert parts(without_images(trial.look()), GONE) == GONE
    assert time.monotonic() - began < 100


def test_the_record_was_deleted_while_the_agent_was_dead_in_a_delete(lab):
    """Whoever finds the record gone still cleans the host."""
    scenario = SCENARIOS["delete"]
    trial = prepared(lab, scenario)
    trial.run(trial.message(scenario.method, **BDMS), kill="terminate_instance:accepted")
    trial.set(deleted=True)
    with trial.conductor.database() as tables:
        tables["VirtualInterface"] = {}
    with trial.ledger.open() as content:
        content.update(ports={}, allocations={})

    assert trial.run()

    seen = without_images(trial.look())
    assert parts(seen, GONE) == GONE
    assert seen["faults"] == set()
    assert ("compute_terminate_instance", "finish", None) in seen["events"]
    trial.clear()


@pytest.mark.parametrize("name", ["boot", "stop", "start", "reboot hard", "delete"])
def test_a_message_comes_again_after_a_restart(lab, name):
    """The broker lost the acknowledgement: whoever did it before does it no second time."""
    scenario = SCENARIOS[name]
    trial = prepared(lab, scenario)
    message = trial.message(scenario.method, **scenario.arguments)
    assert trial.run(message)
    wanted = trial.look()
    calls = len(trial.conductor.read()["calls"])

    assert trial.run(message)

    assert trial.look() == wanted
    assert len(trial.conductor.read()["calls"]) == calls
    trial.clear()


def test_no_room_for_the_disks_of_a_boot(trial):
    """The next host is tried and nothing stays behind."""
    instances = trial.host.state / "instances"
    trial.host.daemon.run("mount", "-t", "tmpfs", "-o", "size=1228k", "tmpfs", str(instances))
    try:
        assert trial.run(boot_message(trial))

        seen = without_images(trial.look())
        wanted = {**GONE, "casts": ["build_instances"], "allocations": {"host2": {"VCPU": 1}}}
        assert parts(seen, wanted) == wanted
        assert (seen["vm_state"], seen["host"]) == ("building", "host2")
        outcome = {event[2] for event in seen["events"] if event[1] == "finish"}
        assert any("No room" in text for text in outcome)
    finally:
        trial.host.daemon.run("umount", "-l", str(instances))
