"""The power fails at any boundary of real verbs: the next process ends them as they should.

Only what was synced of the journal is left; guests are off and taps are gone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.steps.network.replug import WaitForWiring
from tests.unit.operations.host import IMAGE, Host, build_arguments

BOOT = "build_and_run_instance"
REBUILD = {
    "new_pass": "", "injected_files": [], "image_ref": IMAGE, "orig_image_ref": IMAGE,
    "orig_sys_metadata": {"image_base_image_ref": IMAGE}, "bdms": None, "recreate": False,
    "on_shared_storage": False, "preserve_ephemeral": False, "migration": None,
    "scheduled_node": None, "limits": {}, "request_spec": None, "accel_uuids": [],
    "reimage_boot_volume": False, "target_state": None,
}  # fmt: skip
RESCUE = {"rescue_password": None, "rescue_image_ref": IMAGE, "clean_shutdown": False}
MEMORY = "/dev/shm"
SHELF = "55555555-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def tmp_path():
    """In memory: syncing takes no time there, and no inode is used twice."""
    path = Path(tempfile.mkdtemp(prefix="nvl-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield path
    shutil.rmtree(path)


def chosen(names):
    """Where the power fails: after what is only done once, and after every third step or so.

    POWER_FAILURES=all in the environment: everywhere.
    """
    if os.environ.get("POWER_FAILURES") == "all":
        return names
    steps = [name for name in names if name.endswith((":end", ":undone"))]
    sample = set(random.Random(names[0]).sample(steps, -(-len(steps) // 3)))
    return [name for name in names if name in sample or name.count(":") == 1]


def disturbed(tmp_path, prepare, method, arguments):
    """For each boundary: what is left when the power failed there and the agent has resumed."""
    host = Host(tmp_path / "dry")
    prepare(host)
    names = host.boundaries(method, **arguments(host))
    yield None, host.look()
    for number, boundary in enumerate(chosen(names)):
        host = Host(tmp_path / str(number))
        prepare(host)
        host.power_fails(boundary, method, **arguments(host))
        host.resume()
        yield boundary, host.look()


def differences(found, but=()):
    """The boundaries after which something differs from the undisturbed end."""
    (_, wanted), *rest = found
    return {
        boundary: {
            name: (seen[name], wanted[name])
            for name in wanted
            if name not in but and seen[name] != wanted[name]
        }
        for boundary, seen in rest
        if any(seen[name] != wanted[name] for name in wanted if name not in but)
    }


def told(method):
    """Boundaries past which the server's user has seen the end."""
    return tuple(f"{method}:{end}" for end in ("report_active:end", "finished", "closed"))


def test_a_boot(tmp_path):
    """Its guest runs, or is off like any other whose host was off; never is it given up."""
    found = list(disturbed(tmp_path, lambda host: None, BOOT, lambda host: build_arguments()))

    assert differences(found, but=("guest", "taps")) == {}
    # What its user has not seen yet is made anew.
    for boundary, seen in found:
        if boundary not in told(BOOT):
            assert (seen["guest"], seen["taps"]) == ("RUNNING", 1), boundary


def refuse_to_start(host):
    def start(uuid, *, paused=False):
        raise HypervisorError("QEMU exited: no memory")

    host.hypervisor.start = start


@pytest.mark.parametrize("retry", [True, False])
def test_a_boot_that_fails(tmp_path, retry):
    """It goes to the next host once, or ends in ERROR, and leaves nothing."""
    found = disturbed(tmp_path, refuse_to_start, BOOT, lambda host: build_arguments(retry))

    # The next host takes the server over a moment after it was handed to the conductor; a process
    # that is cut off in telling of a failure may tell it twice.
    assert differences(found, but=("host", "task_state", "allocations", "faults")) == {}


def test_an_attach(tmp_path):
    """The volume is in use in all records, or nowhere."""

    def prepare(host):
        host.boot()

    found = disturbed(
        tmp_path, prepare, "attach_volume", lambda host: {"bdm": host.reserve_volume()}
    )

    assert differences(found, but=("guest", "taps")) == {}


INTERFACE = {"network_id": "net-1", "port_id": None, "requested_ip": None, "tag": None}


def known(host):
    """Ports by all records, and in the guest's definition."""
    tables, cloud = host.conductor.read(), host.ledger.read()
    cache = json.loads(tables["InstanceInfoCache"][host.server]["network_info"])
    return {
        "cached": len(cache), "recorded": len(tables["VirtualInterface"]),
        "cards": len(host.hypervisor.guests[host.server].spec.nics),
        "owned": sorted(owner == host.server for owner in cloud["ports"].values()),
        "bound": len(cloud["bound"]), "named": len(cloud.get("named", {})),
    }  # fmt: skip


def after_power_failures(tmp_path, prepare, method, arguments):
    """What is known of ports after a failure at each boundary chosen, and undisturbed."""
    host = Host(tmp_path / "dry")
    prepare(host)
    names = host.boundaries(method, **arguments(host))
    wanted, found = known(host), {}
    for number, boundary in enumerate(chosen(names)):
        host = Host(tmp_path / str(number))
        prepare(host)
        host.power_fails(boundary, method, **arguments(host))
        host.resume()
        found[boundary] = known(host), sorted(host.journal.glob("*.journal"))
    return wanted, {where: seen for where, seen in found.items() if seen != (wanted, [])}


@pytest.mark.parametrize("given", [True, False])
def test_an_interface_is_attached(tmp_path, given):
    """All know of it; a port that was made is made once."""

    def prepare(host):
        host.boot()
        with host.ledger.open() as content:
            content["ports"]["given"] = ""

    asked = {**INTERFACE, "port_id": "given", "network_id": None} if given else INTERFACE
    wanted, wrong = after_power_failures(
        tmp_path, prepare, "attach_interface", lambda host: asked
    )

    assert (wanted["cached"], wanted["cards"], wanted["bound"]) == (2, 2, 2)
    assert wrong == {}


@pytest.mark.parametrize("given", [True, False])
def test_an_interface_is_detached(tmp_path, given):
    """Nobody knows of it any more; a port that was there before is free."""

    def prepare(host):
        host.boot()
        with host.ledger.open() as content:
            content["ports"]["given"] = ""
        asked = {"network_id": None, "port_id": "given"} if given else {}
        host.run("attach_interface", request="req-attach", **{**INTERFACE, **asked})

    def last(host):
        tables = host.conductor.read()
        cache = json.loads(tables["InstanceInfoCache"][host.server]["network_info"])
        return {"port_id": cache[-1]["id"]}

    wanted, wrong = after_power_failures(tmp_path, prepare, "detach_interface", last)

    assert (wanted["cached"], wanted["cards"], wanted["owned"]) == (1, 1, [False, True])
    assert wrong == {}


def test_a_rebuild(tmp_path):
    """Up to its report it goes on; afterwards its disks are not touched any more."""

    def prepare(host):
        host.boot()
        host.set(task_state="rebuilding")

    found = disturbed(tmp_path, prepare, "rebuild_instance", lambda host: REBUILD)

    assert differences(found, but=("guest", "taps")) == {}


def test_a_reboot_that_plugs_its_ports_anew(tmp_path, monkeypatch):
    """Its ports are plugged and its guest runs, wherever it was cut off before its report."""
    monkeypatch.setattr(WaitForWiring, "looks", (0.0,))

    def prepare(host):
        host.conf.set_override(
            "wait_for_vif_plugged_event_during_hard_reboot", ["normal"], "workarounds"
        )
        host.boot()
        host.set(task_state="rebooting_hard")

    hard = {"reboot_type": "HARD", "block_device_info": None}
    host = Host(tmp_path / "names")
    prepare(host)
    assert "reboot_instance:unplug_awaited:end" in host.boundaries("reboot_instance", **hard)

    found = list(disturbed(tmp_path, prepare, "reboot_instance", lambda host: hard))

    assert differences(found, but=("guest", "taps")) == {}
    before = [row for row in found if row[0] not in told("reboot_instance")]
    assert {
        boundary: row
        for boundary, row in differences(before).items()
        if not boundary.endswith("report_power:end")
    } == {}


def test_a_rescue(tmp_path):
    """The guest's own definition is kept, not that of the rescue system."""

    def prepare(host):
        host.boot()
        host.set(task_state="rescuing")

    kept = []
    for boundary, seen in disturbed(tmp_path, prepare, "rescue_instance", lambda host: RESCUE):
        number = "dry" if boundary is None else str(len(kept) - 1)
        kept.append((tmp_path / number).glob("instances/*/unrescue.xml"))
        text = next(kept[-1]).read_text()
        assert ".rescue" not in text, boundary
        assert (seen["vm_state"], seen["task_state"], seen["journal"]) == ("rescued", None, [])


def test_an_unpause_that_was_recorded(tmp_path):
    """It is no fault of it that the guest is off, like all others of this host."""
    host = Host(tmp_path)
    host.boot()
    host.hypervisor.pause(host.server)
    host.set(vm_state="paused", task_state="unpausing")
    host.power_fails("unpause_instance:report_power:end", "unpause_instance")

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["faults"]) == ("active", None, 0)


@pytest.mark.parametrize("method", ["snapshot_instance", "shelve_instance"])
def test_an_image_is_made_once(tmp_path, method):
    """A snapshot that is complete needs no second copy, and its server ends as asked for."""

    def prepare(host):
        host.boot()
        host.images.await_upload(SHELF)
        snapshot = method == "snapshot_instance"
        host.set(task_state="image_snapshot_pending" if snapshot else "shelving")

    found = disturbed(
        tmp_path, prepare, method, lambda host: {"image_id": SHELF, "clean_shutdown": False}
    )

    assert differences(found, but=("guest", "taps")) == {}


def test_a_delete(tmp_path):
    """Nothing is left."""

    def prepare(host):
        host.boot()
        host.set(task_state="deleting")

    bdms = build_arguments()["block_device_mapping"]
    found = disturbed(tmp_path, prepare, "terminate_instance", lambda host: {"bdms": bdms})

    assert differences(found) == {}


@pytest.mark.parametrize("host_now", ["host2"])
def test_a_server_that_was_evacuated_meanwhile_is_left_alone(tmp_path, host_now):
    """Its ports and volumes are those of another host by now, and so may its disks be, on shared
    storage: what is left of it here goes with its evacuation (operations/remove_evacuated.py)."""
    host = Host(tmp_path)
    host.power_fails(f"{BOOT}:start_guest:end", BOOT, **build_arguments())
    host.set(host=host_now, vm_state="active", task_state=None)

    host.resume()

    seen = host.look()
    assert (seen["host"], seen["vm_state"], seen["faults"]) == (host_now, "active", 0)
    assert (seen["ports"], seen["allocations"]) == (1, {"host1": {"VCPU": 1}})
    assert (seen["guest"], seen["journal"]) == ("SHUTDOWN", [])


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"vm_state": "error", "task_state": None}, ("error", None)),
        ({"vm_state": "building", "task_state": "spawning"}, ("active", None)),
        ({"vm_state": "active", "task_state": None}, ("active", None)),
    ],
)
def test_a_boot_finds_its_server_in_another_state(tmp_path, fields, end):
    """On this very host it goes on, or reports; it never falls silent."""
    host = Host(tmp_path)
    host.power_fails(f"{BOOT}:define_guest:end", BOOT, **build_arguments())
    host.set(host="host1", **fields)

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["journal"]) == (*end, [])
    assert seen["faults"] == (end[0] == "error")
    assert ("compute__do_build_and_run_instance", "finish") in seen["ended"]


def test_an_active_server_is_not_rolled_back(tmp_path):
    """Though its journal says that the boot has failed."""
    host = Host(tmp_path)
    host.hypervisor.fail("resume", HypervisorError("no answer"))
    host.power_fails(f"{BOOT}:failed", BOOT, **build_arguments())
    host.set(host="host1", vm_state="active", task_state=None)

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["faults"], seen["ports"]) == ("active", 0, 1)
    assert seen["files"] != [] and seen["journal"] == []


def test_a_shelved_server_that_runs_elsewhere_by_now_is_left_alone(tmp_path):
    """Its record had said that it left this host; only what is here is removed."""
    host = Host(tmp_path)
    host.boot()
    host.images.await_upload(SHELF)
    host.set(task_state="shelving")
    host.power_fails(
        "shelve_instance:record_offloaded:end", "shelve_instance", image_id=SHELF,
        clean_shutdown=False,
    )  # fmt: skip
    host.set(host="host2", vm_state="active", task_state=None)
    with host.ledger.open() as content:
        content["allocations"] = {host.server: {"host2": {"VCPU": 1}}}

    host.resume()

    seen = host.look()
    assert (seen["host"], seen["vm_state"], seen["faults"]) == ("host2", "active", 0)
    assert seen["allocations"] == {"host2": {"VCPU": 1}}
    assert (seen["guest"], seen["files"], seen["journal"]) == (None, [], [])


def test_what_the_next_host_has_made_is_not_taken_from_it(tmp_path):
    """The boot was handed over and failed here; by now it is made on another host."""
    host = Host(tmp_path)
    refuse_to_start(host)
    host.power_fails(f"{BOOT}:reported", BOOT, **build_arguments())
    with host.ledger.open() as content:
        content["ports"] = {"port-of-the-next-host": host.server}

    host.resume()

    assert host.look()["ports"] == 1
    assert host.look()["casts"] == ["build_instances"]


def lose_a_port(host):
    """A server with two ports, of which Neutron has deleted one."""
    with host.ledger.open() as content:
        content["ports_each"] = 2
    host.boot()
    with host.ledger.open() as content:
        del content["ports"][sorted(content["ports"])[1]]


def cached(host):
    """Ids of the ports in the network cache."""
    text = host.conductor.read()["InstanceInfoCache"][host.server]["network_info"]
    return [vif["id"] for vif in json.loads(text)]


@pytest.mark.parametrize(
    ("method", "task_state", "arguments"),
    [
        ("detach_deleted_port", None, {}),
        ("reboot_instance", "rebooting_hard", {"reboot_type": "HARD"}),
        ("start_instance", "powering-on", {}),
    ],
)
def test_a_port_that_was_deleted(tmp_path, method, task_state, arguments):
    """Guest and cache have it no more, and the other one has its tap when the guest runs."""

    def prepare(name):
        host = Host(tmp_path / name)
        lose_a_port(host)
        if method == "start_instance":
            host.hypervisor.destroy(host.server)
            host.set(vm_state="stopped")
        host.set(task_state=task_state)
        asked = arguments or ({"port_id": cached(host)[1]} if task_state is None else {})
        return host, asked

    host, asked = prepare("dry")
    for number, boundary in enumerate(chosen(host.boundaries(method, **asked))):
        host, asked = prepare(str(number))
        kept = cached(host)[0]
        host.power_fails(boundary, method, **asked)
        host.resume()

        seen = host.look()
        spec = host.hypervisor.guests[host.server].spec
        assert (cached(host), len(spec.nics)) == ([kept], 1), boundary
        if seen["guest"] == "RUNNING":
            assert list(host.vifs.ports) == [kept], boundary
        assert (seen["journal"], seen["task_state"]) == ([], None), boundary
