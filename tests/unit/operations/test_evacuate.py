"""A server of a host that failed comes to this one: whole, once, or not at all."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.inventory.claims import Role
from nova_lite.operations.evacuate import Evacuate
from nova_lite.operations.rebuild import Rebuild
from nova_lite.wire.decode import required
from tests.unit.operations.host import (
    ATTACHMENT,
    MAPPING,
    VOLUME,
    Host,
    attachments,
    cinder_with_volume,
    evacuation_arguments,
)

METHOD = "rebuild_instance"
NODE, PROVIDER = "fake.example", "node"  # of the stand-in for this host
MIGRATION = {
    "id": 7, "uuid": "cccccccc-2222-3333-4444-555555555555", "status": "accepted",
    "migration_type": "evacuation", "source_compute": "host2", "source_node": "host2",
    "dest_compute": None, "dest_node": None, "deleted": False,
}  # fmt: skip
CONNECTION = json.dumps(
    {"driver_volume_type": "file", "data": {"name": VOLUME}, "serial": VOLUME}
)


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


class Evacuation(Host):
    """A server of host2, which is down; ``arguments`` are what nova-conductor sends to host1."""

    def __init__(self, directory, *, volume=False, shared=False, **fields):
        super().__init__(directory)
        self.boot()
        files = self.state / "instances" / self.server
        if not shared:
            shutil.rmtree(files)
            shutil.rmtree(files.parent / "_base")  # this host has never had the image
        self.hypervisor.guests.clear()
        self.vifs.ports.clear()
        kept = self.conductor.instance(self.server)["system_metadata"]
        self.set(system_metadata={**kept, "image_disk_format": "raw"},
                 host="host2", node="host2", task_state="rebuilding", compute_id=2,
                 **{"power_state": 1, **fields})  # fmt: skip
        with self.ledger.open() as content:
            content["bound"] = dict.fromkeys(content["ports"], "host2")
            content["allocations"] = {
                self.server: {PROVIDER: {"VCPU": 1}, "host2": {"VCPU": 1}}
            }
        if volume:
            self._attach()
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": {**MIGRATION, "instance_uuid": self.server}}

    def _attach(self):
        """A volume that host2 has connected."""
        with self.ledger.open() as content:
            content["cinder"] = cinder_with_volume(self.server, "host2")
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                **MAPPING, "instance_uuid": self.server, "connection_info": CONNECTION,
            }  # fmt: skip

    def arguments(self, **asked):
        return evacuation_arguments(self.migration(), **asked)

    def evacuate(self, **asked):
        return self.run(METHOD, **self.arguments(**asked))

    def migration(self):
        return self.conductor.read()["Migration"]["7"]

    def row(self):
        row = self.conductor.instance(self.server)
        names = ("host", "node", "vm_state", "task_state", "power_state", "migration_context")
        return {name: row.get(name) for name in names}

    def bound(self):
        return sorted(set(self.ledger.read()["bound"].values()))

    def held(self):
        return sorted(self.ledger.read()["allocations"].get(self.server, {}))

    def cinder(self):
        return attachments(self.ledger)

    def mapping(self):
        return self.conductor.read()["BlockDeviceMapping"]["2"]

    def look(self):
        seen = {**super().look(), "migration": self.migration()["status"], "bound": self.bound()}
        if "cinder" in self.ledger.read():
            seen["connections"] = self.cinder()
        return seen


@pytest.fixture
def host(tmp_path):
    return Evacuation(tmp_path)


HERE = {
    "host": "host1", "node": NODE, "vm_state": "active", "task_state": None, "power_state": 1,
    "migration_context": None,
}  # fmt: skip


def untouched(host, vm_state="active"):
    """Nothing of the server is here, and host2 has it."""
    assert (host.row()["host"], host.row()["node"]) == ("host2", "host2")
    assert (host.row()["vm_state"], host.row()["task_state"]) == (vm_state, None)
    assert host.row()["migration_context"] is None
    assert host.migration()["status"] == "failed"
    assert host.bound() == ["host2"]
    assert (host.hypervisor.guests, host.vifs.ports) == ({}, {})
    assert host.held() == ["host2"]
    assert host.look()["journal"] == []


# --- it comes -----------------------------------------------------------------------------------
def test_a_server_comes_to_this_host(host):
    """With a disk from its image, its port, and the allocation of both hosts."""
    agent = host.evacuate()

    assert host.row() == HERE
    assert host.hypervisor.guests[host.server].state.name == "RUNNING"
    assert "disk" in host.look()["files"]
    assert (host.bound(), len(host.vifs.ports)) == (["host1"], 1)
    migration = host.migration()
    wanted = {"status": "done", "dest_compute": "host1", "dest_node": NODE,
              "dest_host": "127.0.0.1"}  # fmt: skip
    assert {name: migration[name] for name in wanted} == wanted
    assert host.held() == ["host2", PROVIDER]  # the other host gives its own back when it is back
    assert agent.tools.claims.here() == {host.server}
    assert host.look()["ended"] == [
        ("compute_rebuild_instance", "finish"), ("compute_rebuild_instance", "start"),
    ]  # fmt: skip


def test_events_of_its_ports_reach_both_hosts(host):
    """nova-api looks at the move that is recorded, while it goes on."""
    host.killed(f"{METHOD}:bind_ports:begin", METHOD, **host.arguments())

    context = host.row()["migration_context"]["nova_object.data"]
    assert (context["migration_id"], context["instance_uuid"]) == (7, host.server)
    assert host.row()["host"] == "host2"
    assert host.migration()["status"] == "pre-migrating"


@pytest.mark.parametrize(
    ("fields", "asked", "wanted"),
    [
        ({}, {}, "active"),
        ({}, {"target_state": "stopped"}, "stopped"),
        ({"vm_state": "stopped", "power_state": 4}, {}, "stopped"),
        ({"vm_state": "stopped", "power_state": 4}, {"target_state": "stopped"}, "stopped"),
        ({"vm_state": "error"}, {"target_state": "stopped"}, "active"),
    ],
)
def test_a_server_is_on_or_off_as_before_or_as_asked_for(tmp_path, fields, asked, wanted):
    """Since API 2.95 it is to be off; one that is in ERROR starts, as with nova-compute."""
    host = Evacuation(tmp_path, **fields)
    started = []
    host.hypervisor.start, start = (
        lambda *given, **options: (started.append(given), start(*given, **options)),
        host.hypervisor.start,
    )

    host.evacuate(**asked)

    row = host.row()
    assert (row["host"], row["vm_state"], row["task_state"]) == ("host1", wanted, None)
    assert bool(started) == (wanted == "active")
    assert (row["power_state"] == 1) == (wanted == "active")


def test_its_volume_has_a_new_attachment(tmp_path):
    """The old one is deleted, which has Cinder shut out the host that failed."""
    host = Evacuation(tmp_path, volume=True)

    agent = host.evacuate()

    assert host.row() == HERE
    assert host.cinder() == [("attached", "host1")]
    assert host.mapping()["attachment_id"] != ATTACHMENT
    assert host.mapping()["connection_info"]
    assert agent.parts.volumes.of(SimpleNamespace(type="file")).connected() == [
        (VOLUME, host.server)
    ]
    assert "vdb" in host.look()["disks"]


def test_what_nova_api_leaves_out_of_an_evacuation_is_not_missed():
    """As compute/api.py sends it; without a password where an old request says that the disk is
    shared."""
    sent = dict.fromkeys(
        ("new_pass", "injected_files", "image_ref", "orig_image_ref", "orig_sys_metadata", "bdms")
    )
    sent.update(recreate=True, preserve_ephemeral=False)

    for name, kind in Rebuild.requires.items():
        required(sent, name, kind)

    assert Rebuild.variant(sent) is Evacuate
    assert Rebuild.variant({"recreate": False}) is Rebuild


# --- shared storage -----------------------------------------------------------------------------
@pytest.mark.parametrize("told", [None, True])
def test_disks_on_shared_storage_are_kept(tmp_path, told):
    """By what is there, as before API 2.14 by what the request says, too."""
    host = Evacuation(tmp_path, shared=True)
    disk = host.state / "instances" / host.server / "disk"
    disk.write_bytes(b"the user's")

    host.evacuate(on_shared_storage=told)

    assert host.row() == HERE
    assert disk.read_bytes() == b"the user's"


@pytest.mark.parametrize("shared", [True, False])
def test_a_wrong_word_about_shared_storage_is_refused(tmp_path, shared):
    """Before anything is made, or believed to be the server's disk."""
    host = Evacuation(tmp_path, shared=shared)
    files = host.look()["files"]

    host.evacuate(on_shared_storage=not shared)

    untouched(host)
    assert host.look()["files"] == files
    assert host.look()["faults"] == 1


def test_a_failure_does_not_remove_what_is_shared(tmp_path):
    """Nor its config drive: the host that has the server is to go on with it."""
    host = Evacuation(tmp_path, shared=True)
    files = host.look()["files"]
    failing(host, "start")

    host.evacuate()

    untouched(host, "error")
    assert host.look()["files"] == files


class ClusterDisks:
    """Disks that all hosts reach."""

    def __init__(self, real):
        self._real, self.shared, self.shut, self.removed = real, True, [], []
        self.format, self.clones = real.format, False

    def exists(self, directory, name):
        return True

    def create(self, directory, disk):
        raise AssertionError("the disk is there")

    def shut_out(self, directory):
        self.shut.append(directory.name)

    def remove_all(self, directory):
        self.removed.append(directory.name)

    def remove(self, directory, name):
        self.removed.append(name)

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.mark.parametrize("fails", [False, True])
def test_disks_in_a_cluster_are_kept_and_the_other_host_is_shut_out(host, fails):
    """It may be alive: two guests must not write to one disk. A failure removes none of them."""
    disks = ClusterDisks(host.agent().tools.disks)
    if fails:
        failing(host, "start")

    agent = host.agent(disks=disks)
    host.send(agent, METHOD, **host.arguments())
    assert agent.engine.settle(60)

    assert disks.shut == [host.server]
    assert disks.removed == []
    if fails:
        untouched(host, "error")
    else:
        assert host.row() == HERE


# --- it does not come ---------------------------------------------------------------------------
def failing(host, method):
    def fail(*arguments, **options):
        raise HypervisorError(f"{method} was made to fail")

    setattr(host.hypervisor, method, fail)


@pytest.mark.parametrize("volume", [False, True])
def test_a_failure_leaves_the_server_to_its_host(tmp_path, volume):
    """In ERROR, so that it can be evacuated once more; nothing of it stays here."""
    host = Evacuation(tmp_path, volume=volume)
    failing(host, "start")

    agent = host.evacuate()

    untouched(host, "error")
    assert host.look()["files"] == []
    assert host.look()["faults"] == 1
    assert agent.tools.claims.servers() == frozenset()
    if volume:
        assert host.cinder() == [("reserved", None)]
        assert host.mapping()["attachment_id"] != ATTACHMENT


def test_a_guest_that_is_here_is_left_alone(host):
    """Whoever has left it there: it may have the disks in use."""
    other = Evacuation(host.state / "other")
    other.evacuate()
    guest = other.hypervisor.guests[other.server]
    host.hypervisor.guests[host.server] = guest

    host.evacuate()

    assert host.hypervisor.guests == {host.server: guest}
    assert guest.state.name == "RUNNING"
    assert (host.row()["vm_state"], host.migration()["status"]) == ("active", "failed")


def test_an_unknown_target_state_is_refused(host):
    """The server stays as it was."""
    host.evacuate(target_state="paused")

    untouched(host)


def test_a_server_that_was_deleted_meanwhile_is_given_up(host):
    """Its record is not touched."""
    host.set(task_state="deleting")

    host.evacuate()

    assert host.row()["task_state"] == "deleting"
    assert host.migration()["status"] == "failed"
    assert host.hypervisor.guests == {}


def test_an_evacuation_that_was_ended_meanwhile_has_no_effect(host):
    """This host was away in the middle; a third one has the server."""
    host.killed(f"{METHOD}:make_disks:end", METHOD, **host.arguments())
    with host.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "error"
        tables["Migration"]["8"] = {
            **MIGRATION, "id": 8, "uuid": "d" * 36, "instance_uuid": host.server,
            "status": "pre-migrating", "dest_compute": "host3",
        }  # fmt: skip
    host.set(migration_context=None)
    with host.ledger.open() as content:
        content["bound"] = dict.fromkeys(content["ports"], "host3")

    host.resume()

    assert (host.row()["host"], host.row()["vm_state"]) == ("host2", "active")
    assert host.row()["task_state"] is not None
    assert host.bound() == ["host3"]
    assert host.hypervisor.guests == {}
    assert host.look()["files"] == []


# --- killed -------------------------------------------------------------------------------------
def test_killed_at_any_boundary_it_ends_as_undisturbed(tmp_path):
    """With a volume; nothing twice, nothing left."""
    dry = Evacuation(tmp_path / "dry", volume=True)
    names = dry.boundaries(METHOD, **dry.arguments())
    wanted = dry.look()
    wrong = {}
    for number, boundary in enumerate(names):
        host = Evacuation(tmp_path / str(number), volume=True)
        host.killed(boundary, METHOD, **host.arguments())
        host.resume()
        if host.look() != wanted:
            wrong[boundary] = {k: (v, wanted[k]) for k, v in host.look().items() if v != wanted[k]}
        shutil.rmtree(host.state)

    assert wrong == {}
    assert (wanted["host"], wanted["migration"], wanted["journal"]) == ("host1", "done", [])


def test_after_a_power_failure_it_ends_as_undisturbed(tmp_path):
    """Taps, guest and what was not synced are gone."""
    dry = Evacuation(tmp_path / "dry", volume=True)
    names = dry.boundaries(METHOD, **dry.arguments())
    wanted = {**dry.look()}
    wrong = {}
    for number, boundary in enumerate(name for name in names if name.endswith(":end")):
        host = Evacuation(tmp_path / str(number), volume=True)
        host.power_fails(boundary, METHOD, **host.arguments())
        host.resume()
        seen = host.look()
        if seen["host"] == "host1" and seen["guest"] == "SHUTDOWN":
            # It was this host's already: starting it again is for the start of the host.
            seen = {**seen, "guest": wanted["guest"], "taps": wanted["taps"]}
        if seen != wanted:
            wrong[boundary] = {k: (v, wanted[k]) for k, v in seen.items() if v != wanted[k]}
        shutil.rmtree(host.state)

    assert wrong == {}


def test_a_claim_that_was_restored_counts_once(host):
    """A restarted agent has accounted for the move from the records."""
    agent = host.agent()
    agent.tools.claims.claim(
        host.server, SimpleNamespace(vcpus=1, memory_mb=1, disk_mb=0), role=Role.INCOMING
    )
    host.send(agent, METHOD, **host.arguments())
    assert agent.engine.settle(60)

    assert len(agent.tools.claims.usage().servers) == 1
    assert agent.tools.claims.topology(host.server, Role.INCOMING) is None
