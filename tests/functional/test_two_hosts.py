"""A server that goes from one host to another: it is on one of them, whatever is killed meanwhile.

Both hosts have a real libvirtd, an agent and a journal of their own, and share the cloud's
stand-ins.
"""

from __future__ import annotations

import copy
import random

import libvirt
import pytest

from nova_lite.drivers.disk import qemu_img
from nova_lite.wire.objects import WireObject, unwrap
from tests import rotation
from tests.functional import prepare
from tests.functional.messages import (
    MIB,
    SHELF,
    VOLUME,
    evacuation_arguments,
    shelve_arguments,
    unshelve_arguments,
)

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(600)]

SAMPLE = 6  # boundaries of a verb at which it is killed, unless all are
RUNS = libvirt.VIR_DOMAIN_RUNNING
# What a host has of a server that is not there; its images stay in the cache.
NOTHING = {
    "domain": None, "saved": False, "copying": False, "devices": [], "files": [], "taps": 0,
    "volumes": {"places": [], "secrets": 0, "connected": 0, "disks": []},
    "shares": {"mounted": 0, "tags": []}, "journal": [],
}  # fmt: skip


@pytest.fixture
def trial(lab):
    """A server that runs on host1 and has a volume; host2 is there, too."""
    made = lab.trial("host1", "host2")
    prepare.boot(made)
    prepare.attach_volume(made)
    with made.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME]["status"] = "in-use"
    yield made
    made.clear()


def at(look, host):
    """What a host has, without the image cache."""
    files = [name for name in look[host]["files"] if not name.startswith("_base/")]
    return {**look[host], "files": files}


def killed_at_each(trial, host, message, request):
    """Kill a verb at its boundaries; return how all ends without and (boundary, end) of those that
    end otherwise."""
    trial.keep()
    trial.restore()
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    assert trial.hosts[host].run(message, record=str(record))
    wanted, passed = trial.look_everywhere(), record.read_text().splitlines()
    if not request.config.getoption("--full"):
        passed = random.Random(rotation.seed(request.config)).sample(passed, SAMPLE)
    wrong = []
    for boundary in passed:
        trial.restore()
        assert not trial.hosts[host].run(message, kill=boundary), boundary
        assert trial.hosts[host].run()
        seen = trial.look_everywhere()
        if seen != wanted:
            wrong.append((boundary, {k: (seen[k], v) for k, v in wanted.items() if seen[k] != v}))
    return wanted, wrong


def shelve(trial):
    """The message that makes the server leave host1."""
    prepare.await_image(trial, SHELF)
    trial.set(task_state="shelving")
    return trial.message("shelve_instance", **shelve_arguments())


def test_a_server_leaves_its_host(trial, request):
    """Nothing of it is left there; port and volume are reserved for it."""
    wanted, wrong = killed_at_each(trial, "host1", shelve(trial), request)

    assert not wrong, "\n".join(map(str, wrong))
    assert (wanted["vm_state"], wanted["host"]) == ("shelved_offloaded", None)
    assert at(wanted, "host1") == at(wanted, "host2") == NOTHING
    assert (wanted["ports"], wanted["bound"], wanted["allocations"]) == (["server"], [], None)
    assert wanted["volumes"]["cinder"] == [("reserved", "reserved")]


def test_a_server_arrives_on_another_host(trial, request):
    """It runs there, once, with its port and its volume, and the host it left has nothing."""
    assert trial.run(shelve(trial))
    trial.forget_events()
    trial.images.add(SHELF, bytes(MIB))
    trial.allocate("host2")
    trial.set(task_state="unshelving")
    message = trial.message("unshelve_instance", **unshelve_arguments("host2"))

    wanted, wrong = killed_at_each(trial, "host2", message, request)

    assert not wrong, "\n".join(map(str, wrong))
    assert (wanted["vm_state"], wanted["host"], wanted["node"]) == ("active", "host2", "host2")
    assert at(wanted, "host1") == NOTHING
    assert (wanted["host2"]["domain"], wanted["host2"]["taps"]) == (RUNS, 1)
    assert (wanted["ports"], wanted["bound"]) == (["server"], ["host2"])
    assert wanted["allocations"] == {"host2": {"VCPU": 1}}
    assert wanted["volumes"]["cinder"] == [("in-use", "attached")]
    assert wanted["host2"]["volumes"]["connected"] == 1


# --- evacuation ---------------------------------------------------------------------------------
def evacuate(trial):
    """What the cloud has done while host1 was dark; host2 has the server."""
    trial.set(host="host2", node="host2", vm_state="active", task_state=None, power_state=1)
    trial.allocate("host1", "host2")
    with trial.ledger.open() as content:
        content["bound"] = dict.fromkeys(content["ports"], "host2")
    with trial.conductor.database() as tables:
        tables["Migration"] = {
            "1": {
                "id": 1, "uuid": "cccccccc-2222-3333-4444-555555555555", "status": "done",
                "migration_type": "evacuation", "instance_uuid": trial.server,
                "source_compute": "host1", "source_node": "host1",
                "dest_compute": "host2", "dest_node": "host2",
            }
        }  # fmt: skip


INTERRUPTED = {
    "nothing": None,
    "hard reboot, guest is off": "reboot_instance:power_off:end",
    "hard reboot, guest runs": "reboot_instance:start_guest:end",
}


@pytest.fixture(params=INTERRUPTED)
def evacuated(trial, request):
    """The server's record when host1, dark until now, has power again; host1 has gone on with it.

    The second value are the boundaries that host1 has passed since.
    """
    source, boundary = trial.hosts["host1"], INTERRUPTED[request.param]
    if boundary:
        trial.set(task_state="rebooting_hard")
        message = trial.message("reboot_instance", reboot_type="HARD", block_device_info=None)
        assert not source.run(message, kill=boundary, durable=True)
    source.lose_power()
    evacuate(trial)
    before = trial.records()
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    assert source.run(joins=True, record=str(record))
    return before, set(record.read_text().splitlines()) if record.exists() else set()


def test_what_was_evacuated_is_not_started_where_it_was(trial, evacuated):
    """Two guests with one disk would be the end of it; and the record is the other host's."""
    before, passed = evacuated

    assert not {"hypervisor.start#1", "hypervisor.unpause#1", "hypervisor.resume#1"} & passed
    assert trial.hosts["host1"].domain_state() in (None, libvirt.VIR_DOMAIN_SHUTOFF)
    seen = trial.records()
    kept = ("host", "node", "vm_state", "task_state", "power_state", "ports", "bound")
    assert {name: seen[name] for name in kept} == {name: before[name] for name in kept}


def test_what_was_evacuated_leaves_its_old_host(trial, evacuated):
    """Guest, disks, taps, connections and the allocation; the volume is the other host's."""
    before, _ = evacuated

    seen = trial.look_everywhere()
    assert at(seen, "host1") == NOTHING
    assert seen["allocations"] == {"host2": {"VCPU": 1}}
    assert seen["volumes"] == before["volumes"]
    assert trial.conductor.read()["Migration"]["1"]["status"] == "completed"


@pytest.fixture
def failed(trial):
    """host1 has lost its power; what the cloud asks of host2 then."""
    trial.hosts["host1"].lose_power()
    trial.forget_events()
    kept = trial.conductor.instance(trial.server)["system_metadata"]
    # As nova-api has it from the image: host2 has never seen it.
    trial.set(task_state="rebuilding", system_metadata={**kept, "image_disk_format": "raw"})
    trial.allocate("host1", "host2")
    with trial.conductor.database() as tables:
        tables["Migration"] = {
            "1": {
                "id": 1, "uuid": "cccccccc-2222-3333-4444-555555555555", "status": "accepted",
                "migration_type": "evacuation", "instance_uuid": trial.server,
                "source_compute": "host1", "source_node": "host1",
                "dest_compute": None, "dest_node": None,
            }
        }  # fmt: skip
        migration = tables["Migration"]["1"]
    return trial.message("rebuild_instance", **evacuation_arguments(migration))


def test_a_server_comes_from_a_host_that_failed(trial, failed, request):
    """It runs here, once, with its port and its volume; its old host cleans up when it is back."""
    wanted, wrong = killed_at_each(trial, "host2", failed, request)

    assert not wrong, "\n".join(map(str, wrong))
    assert (wanted["vm_state"], wanted["host"], wanted["node"]) == ("active", "host2", "host2")
    assert (wanted["task_state"], wanted["power_state"]) == (None, 1)
    assert (wanted["host2"]["domain"], wanted["host2"]["taps"]) == (RUNS, 1)
    assert (wanted["ports"], wanted["bound"]) == (["server"], ["host2"])
    assert wanted["volumes"]["cinder"] == [("in-use", "attached")]
    assert wanted["volumes"]["attachments"] == ["attached"]
    assert wanted["host2"]["volumes"]["connected"] == 1
    assert wanted["allocations"] == {"host1": {"VCPU": 1}, "host2": {"VCPU": 1}}
    assert trial.conductor.read()["Migration"]["1"]["status"] == "done"

    assert trial.hosts["host1"].run(joins=True)

    seen = trial.look_everywhere()
    assert at(seen, "host1") == NOTHING
    assert seen["host2"] == wanted["host2"]
    assert seen["allocations"] == {"host2": {"VCPU": 1}}
    assert trial.conductor.read()["Migration"]["1"]["status"] == "completed"


def test_a_server_that_cannot_come_stays_with_its_host(trial, failed, request):
    """In ERROR, with its port there and its volume reserved; the other host has nothing of it."""
    assert trial.hosts["host2"].run(failed, fail_start=True)

    seen = trial.look_everywhere()
    assert (seen["vm_state"], seen["host"], seen["task_state"]) == ("error", "host1", None)
    assert at(seen, "host2") == NOTHING
    assert (seen["bound"], seen["allocations"]) == (["host1"], {"host1": {"VCPU": 1}})
    assert seen["volumes"]["cinder"] == [("reserved", "reserved")]
    assert trial.conductor.read()["Migration"]["1"]["status"] == "failed"


# --- resize -------------------------------------------------------------------------------------
MIGRATION = "cccccccc-2222-3333-4444-666666666666"
GIB = 1024**3


def begin_move(trial, target, **flavor):
    """What nova-api and the conductor have done when they ask ``target`` for the server, which is
    to get another flavor."""
    row = trial.conductor.instance(trial.server)
    new = copy.deepcopy(row["flavor"])
    before = new["nova_object.data"]["id"]
    new["nova_object.data"].update({"id": 77, "name": "new", "vcpus": 2, **flavor})
    trial.set(
        task_state="resize_prep", old_flavor=None, new_flavor=None, instance_type_id=before,
        progress=0,
        # As nova-api has it from the image: host2 has never seen it.
        system_metadata={**row["system_metadata"], "image_disk_format": "raw"},
    )  # fmt: skip
    migration = {
        "id": 1, "uuid": MIGRATION, "status": "pre-migrating", "migration_type": "resize",
        "instance_uuid": trial.server, "source_compute": "host1", "source_node": "host1",
        "dest_compute": target, "dest_node": target, "dest_host": None, "dest_compute_id": None,
        "old_instance_type_id": before, "new_instance_type_id": 77,
    }  # fmt: skip
    with trial.conductor.database() as tables:
        tables["Migration"] = {"1": migration}
    with trial.ledger.open() as content:
        content["allocations"] = {
            trial.server: {target: {"VCPU": 2}}, MIGRATION: {"host1": {"VCPU": 1}}
        }
    trial.forget_events()
    made = WireObject.new("Migration", "1.8", **migration)
    made.clear_changes()
    return trial.message(
        "prep_resize", migration=unwrap(made), flavor=new, image={}, node=target,
        request_spec=None, filter_properties={}, clean_shutdown=True, host_list=[],
    )  # fmt: skip


def cast_to(trial, method):
    """The host that a message was cast to, and the message."""
    sent = trial.ledger.read()["sent"]
    host, _, arguments = next(message for message in sent if message[1] == method)
    return host, {"method": method, "request_id": "req-move", "args": arguments}


def go_on(trial, *methods):
    """Deliver what the hosts have cast to each other, in order."""
    for method in methods:
        host, message = cast_to(trial, method)
        assert trial.hosts[host].run(message), method


RESIZED = {
    "vm_state": "resized", "task_state": None, "power_state": 1, "faults": set(),
    "bound": ["host2"], "allocations": {"host2": {"VCPU": 2}},
}  # fmt: skip
KEPT = ["server_resize/disk", "server_resize/disk.config", "server_resize/disk.info"]


def is_resized(trial, seen):
    """It runs on host2, and host1 keeps what it had, and has nothing open."""
    assert {name: seen[name] for name in RESIZED} == RESIZED
    assert (seen["host"], seen["node"]) == ("host2", "host2")
    assert (seen["host2"]["domain"], seen["host2"]["taps"]) == (RUNS, 1)
    assert seen["host2"]["volumes"]["connected"] == 1
    source = at(seen, "host1")
    assert (source["domain"], source["taps"]) == (libvirt.VIR_DOMAIN_SHUTOFF, 0)
    assert source["volumes"]["connected"] == 0
    assert [name for name in source["files"] if name in KEPT] == KEPT
    assert not [name for name in source["files"] if name.startswith("server/")]
    assert seen["volumes"]["cinder"] == [("in-use", "attached")]
    assert trial.conductor.read()["Migration"]["1"]["status"] == "finished"


def test_a_server_is_resized_to_another_host(trial):
    """Its guest boots there from the disk that came along, which has grown."""
    root = trial.conductor.instance(trial.server)["flavor"]["nova_object.data"]["root_gb"]
    assert trial.hosts["host2"].run(begin_move(trial, "host2", root_gb=root + 1))
    go_on(trial, "resize_instance", "finish_resize")

    is_resized(trial, trial.look_everywhere())
    trial.hosts["host2"].wait_for_guest()
    disk = trial.directory / "host2" / "instances" / trial.server / "disk"
    assert qemu_img.info(disk)["virtual-size"] == (root + 1) * GIB


@pytest.mark.parametrize("verb", ["prep_resize", "resize_instance", "finish_resize"])
def test_a_resize_ends_the_same_wherever_an_agent_is_killed(trial, request, verb):
    """Of the host that the server leaves, or of the one that gets it."""
    message, host = begin_move(trial, "host2"), "host2"
    if verb != "prep_resize":
        assert trial.hosts[host].run(message)
        if verb == "finish_resize":
            go_on(trial, "resize_instance")
        host, message = cast_to(trial, verb)

    wanted, wrong = killed_at_each(trial, host, message, request)

    assert not wrong, "\n".join(map(str, wrong))
    if verb == "finish_resize":
        is_resized(trial, wanted)
        return
    go_on(trial, *(["resize_instance"] if verb == "prep_resize" else []), "finish_resize")
    is_resized(trial, trial.look_everywhere())


@pytest.mark.parametrize("boundary", ["keep_files:end", "send_disks:end", "record_left:end"])
def test_a_host_that_loses_power_while_it_sends_goes_on(trial, boundary):
    """What it had not synced it has not promised."""
    assert trial.hosts["host2"].run(begin_move(trial, "host2"))
    host, message = cast_to(trial, "resize_instance")
    source = trial.hosts[host]
    assert not source.run(message, kill=f"resize_instance:{boundary}", durable=True)
    source.lose_power()

    assert source.run(joins=True)
    go_on(trial, "finish_resize")

    is_resized(trial, trial.look_everywhere())


def test_a_server_that_cannot_leave_goes_on(trial):
    """There is no room for its disks: it runs where it was, with its volume."""
    before = trial.look_everywhere()
    assert trial.hosts["host2"].run(begin_move(trial, "host2"))
    files = trial.directory / "host2" / "instances"
    files.rename(files.with_suffix(".away"))
    files.touch()

    go_on(trial, "resize_instance")

    seen = trial.look_everywhere()
    files.unlink()
    files.with_suffix(".away").rename(files)
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("active", None, "host1")
    assert seen["host1"]["domain"] == RUNS
    for name in ("files", "taps", "volumes"):
        assert seen["host1"][name] == before["host1"][name], name
    assert seen["allocations"] == {"host1": {"VCPU": 1}}
    assert len(seen["faults"]) == 1
    assert trial.conductor.read()["Migration"]["1"]["status"] == "error"


@pytest.mark.parametrize("verb", [None, "resize_instance", "finish_resize"])
def test_a_server_is_resized_on_its_host(trial, request, verb):
    """What it had is kept beside, and one guest runs; wherever the agent is killed."""
    message = begin_move(trial, "host1", swap=16)
    assert trial.hosts["host1"].run(message)
    if verb == "finish_resize":
        go_on(trial, "resize_instance")
    if verb:
        host, message = cast_to(trial, verb)
        _, wrong = killed_at_each(trial, host, message, request)
        assert not wrong, "\n".join(map(str, wrong))
    go_on(trial, "resize_instance", "finish_resize")

    seen = trial.look_everywhere()
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("resized", None, "host1")
    assert (seen["host1"]["domain"], seen["host1"]["taps"]) == (RUNS, 1)
    kept = [name for name in seen["host1"]["files"] if name in KEPT]
    assert (kept, seen["host1"]["volumes"]["connected"]) == (KEPT, 1)
    assert "server/disk.swap" in seen["host1"]["files"]
    assert at(seen, "host2") == NOTHING
