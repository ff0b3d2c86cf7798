"""A server whose host died while it sent it: it is evacuated, whole, and nothing of the move stays.

host1 was sending it to host2 when it died.
"""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.loops.evacuated import EvacuatedServers
from nova_lite.wire.objects import unwrap
from tests.fakes.killed import Killed, until_killed
from tests.unit.operations.host import evacuation_arguments
from tests.unit.operations.test_resize import at
from tests.unit.operations.two_hosts import MIGRATION, OLD, TwoHosts

EVACUATION = "cccccccc-2222-3333-4444-888888888888"
MARK = b"what the guest has written"
METHOD = "rebuild_instance"
ASKED = "check_instance_shared_storage"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


class Evacuated(TwoHosts):
    """``boundary`` of resize_instance at which host1 dies; ``hosts`` to ask are added to peers."""

    def __init__(self, directory, boundary="send_disks:end", **options):
        super().__init__(directory, **options)
        with self.conductor.database() as tables:
            now = datetime.datetime.now(datetime.UTC)
            tables["Migration"]["7"]["created_at"] = now.isoformat()
        with open(self.instances(self.source) / self.server / "disk", "ab") as file:
            file.write(MARK.ljust(4096, b"\0"))
        self.move(until="resize_instance")
        if boundary:
            self.dies(boundary)

    def dies(self, boundary):
        arguments = self.asked("resize_instance")[2]
        kept = {key: unwrap(value) for key, value in arguments.items() if key != "instance"}
        real, source = self.source.agent, self.source
        source.agent = lambda observer=None, **more: real(observer, **{**self.parts(), **more})
        source.killed(f"resize_instance:{boundary}", "resize_instance", **kept)
        source.agent = real

    def evacuate(self, **asked):
        """What nova-api and the conductor do; then host2 does its part."""
        self.run(self.dest, METHOD, **self.evacuation(**asked))

    def evacuation(self, **asked):
        """What nova-api and the conductor do; the arguments of their message."""
        self.set(task_state="rebuilding")
        row = {
            "id": 8, "uuid": EVACUATION, "status": "accepted", "migration_type": "evacuation",
            "source_compute": "host1", "source_node": "host1", "dest_compute": None,
            "dest_node": None, "deleted": False, "instance_uuid": self.server,
        }  # fmt: skip
        with self.conductor.database() as tables:
            tables["Migration"]["8"] = row
        return evacuation_arguments(row, **asked)

    def status(self, number):
        return self.conductor.read()["Migration"][str(number)]["status"]

    def written(self):
        """Whether the disk on host2 is the one that was sent."""
        return MARK in (self.instances(self.dest) / self.server / "disk").read_bytes()

    def comes_back(self):
        """host1 has power again, and its agent starts."""
        self.peers.answers["host2"][ASKED] = False
        agent = self.source.agent(**self.parts())
        EvacuatedServers("host1", agent.tools.migrations, agent.engine).look()
        agent.engine.resume()
        assert agent.engine.settle(60)


def whole(hosts):
    """It runs on host2, made anew as an evacuation makes it, and is nobody's but host2's."""
    assert hosts.faults() == []
    assert hosts.state() == ("host2", "active", None)
    assert hosts.guest(hosts.dest) == "RUNNING"
    assert hosts.files(hosts.dest) == at("server")
    assert not hosts.written()
    assert (hosts.status(7), hosts.status(8)) == ("error", "done")
    assert hosts.flavor_ids() == (OLD, None, None)
    assert hosts.row("migration_context") is None
    assert "old_vm_state" not in hosts.row("system_metadata")
    assert MIGRATION not in hosts.ledger.read()["allocations"]


BOUNDARIES = ["reach_target:end", "keep_files:end", "send_disks:end", "record_left:begin"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_what_was_sent_is_not_taken_for_shared_storage(tmp_path, boundary):
    """Half a disk is no disk, and a whole one is as old as the move that failed."""
    hosts = Evacuated(tmp_path, boundary, volume=True)

    hosts.evacuate()

    whole(hosts)


def test_half_a_disk_goes(tmp_path):
    """With everything beside it: of nova-compute, which writes to the name of the disk."""
    hosts = Evacuated(tmp_path, "reach_target:end")
    there = hosts.instances(hosts.dest) / hosts.server
    (there / "disk").write_bytes(MARK)
    (there / "disk.1-2.ab.part").write_bytes(MARK)
    (there / "swtpm").mkdir()

    hosts.evacuate()

    whole(hosts)
    assert not (there / "swtpm").exists()


def test_a_kill_in_the_middle_of_the_removal(tmp_path, monkeypatch):
    """The rest of what was sent goes, too."""
    hosts = Evacuated(tmp_path)
    asked, agent = hosts.evacuation(), hosts.dest.agent(**hosts.parts())

    def rmtree(path, *_more, **_options):
        (Path(path) / "disk").unlink()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("nova_lite.services.disk_files.shutil.rmtree", rmtree)
        with until_killed():
            hosts.dest.send(agent, METHOD, **asked)
    hosts.dest.resume(**hosts.parts())

    whole(hosts)
    assert [path.name for path in hosts.instances(hosts.dest).glob(f"{hosts.server}*")] == [
        hosts.server
    ]


@pytest.mark.parametrize("status", ["error", "failed"])
def test_what_a_failed_move_has_left_long_ago_goes(tmp_path, status):
    """host1 could not take it away, and died a day later."""
    hosts = Evacuated(tmp_path)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = status
    hosts.set(task_state=None, migration_context=None, new_flavor=None)

    hosts.evacuate()

    assert hosts.status(7) == status
    assert (hosts.state(), hosts.written()) == (("host2", "active", None), False)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_host_that_died_has_nothing_when_it_is_back(tmp_path, boundary):
    """Neither of the server nor of its move; it does not go on with that, and removes nothing on
    the other host."""
    hosts = Evacuated(tmp_path, boundary, volume=True)
    hosts.evacuate()

    hosts.comes_back()

    assert (hosts.guest(hosts.source), hosts.files(hosts.source)) == (None, [])
    assert hosts.look()["host1"]["journal"] == []
    assert len(hosts.source.vifs.ports) == 0
    assert hosts.status(8) == "completed"
    assert hosts.files(hosts.dest) == at("server")
    assert (hosts.state(), hosts.guest(hosts.dest)) == (("host2", "active", None), "RUNNING")


def test_a_host_that_was_alive_all_the_time_removes_nothing_there(tmp_path):
    """The operator was wrong: it goes on with the move, and gives up."""
    hosts = Evacuated(tmp_path)
    hosts.evacuate()
    before = hosts.files(hosts.dest)

    hosts.source.resume(**hosts.parts())

    assert hosts.files(hosts.dest) == before
    assert (hosts.state(), hosts.written()) == (("host2", "active", None), False)
    assert hosts.guest(hosts.source) != "RUNNING"


def test_an_evacuation_that_has_begun_keeps_the_guest_off(tmp_path):
    """Though the record still names host1, which was alive all the time: no two guests have one
    volume."""
    hosts = Evacuated(tmp_path, volume=True)
    there = hosts.files(hosts.dest)
    hosts.set(task_state="rebuilding")
    with hosts.conductor.database() as tables:
        seven = tables["Migration"]["7"]
        tables["Migration"]["8"] = {**seven, "id": 8, "uuid": EVACUATION,
                                    "migration_type": "evacuation"}  # fmt: skip

    hosts.source.resume(**hosts.parts())

    assert hosts.guest(hosts.source) == "SHUTDOWN"
    assert (hosts.files(hosts.dest), hosts.status(8)) == (there, "migrating")
    assert hosts.state() == ("host1", "active", "rebuilding")
    assert hosts.cinder() == [("attached", "host1")]


def test_a_third_host_ends_the_move(tmp_path):
    """What it was to hold on its way is given back; host2 removes what it has got of it."""
    hosts = Evacuated(tmp_path)
    hosts.dest.conf.set_override("host", "host3")
    hosts.peers.answers["host2"] = {"drop_move_claim_at_destination": None}
    shutil.rmtree(hosts.instances(hosts.dest) / hosts.server)  # it is host2's

    hosts.evacuate()

    assert hosts.state()[0] == "host3"
    assert (hosts.status(7), hosts.status(8)) == ("error", "done")
    assert MIGRATION not in hosts.ledger.read()["allocations"]
    told = [(host, method) for host, method, _ in hosts.peers.sent]
    assert ("host2", "drop_move_claim_at_destination") in told


@pytest.mark.parametrize("later", [{"status": "confirmed", "dest_compute": "host3"}])
def test_what_is_not_certain_is_refused(tmp_path, later):
    """The server has moved on since: a host that shares this directory may have died."""
    hosts = Evacuated(tmp_path)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "error"
        seven = tables["Migration"]["7"]
        tables["Migration"]["75"] = {**seven, "id": 75, "uuid": EVACUATION[:-1] + "7", **later}
    before = hosts.files(hosts.dest)

    hosts.evacuate()

    assert (hosts.state()[1:], hosts.files(hosts.dest)) == (("active", None), before)
    assert f"{hosts.server} of host host2 may be the rest of a move" in hosts.faults()[0]
    assert hosts.faults()[0].endswith("evacuate again")


def test_a_request_that_knows_better_is_refused(tmp_path):
    """Before API 2.14 it says whether the disks are shared."""
    hosts = Evacuated(tmp_path)
    before = hosts.files(hosts.dest)

    hosts.evacuate(on_shared_storage=True)

    assert (hosts.state()[1:], hosts.files(hosts.dest)) == (("active", None), before)
    assert "the request says" in hosts.faults()[0]
    assert hosts.faults()[0].endswith("evacuate again")


def test_an_evacuation_that_fails_leaves_nothing(tmp_path):
    """It can be evacuated once more, as from any dead host."""
    hosts = Evacuated(tmp_path)
    hosts.dest.hypervisor.fail("start", HypervisorError("no memory"))

    hosts.evacuate()

    assert hosts.state() == ("host1", "error", None)
    assert (hosts.files(hosts.dest), hosts.guest(hosts.dest)) == ([], None)


# --- it is shared all the same ------------------------------------------------------------------
def shared(hosts):
    """Both hosts have one instances_path."""
    hosts.dest.conf.set_override("instances_path", str(hosts.instances(hosts.source)))
    hosts.remote.there = hosts.remote.here


def test_a_disk_on_shared_storage_is_kept(tmp_path):
    """host1 died before it had renamed anything."""
    hosts = Evacuated(tmp_path, None)
    shared(hosts)
    console = hosts.instances(hosts.source) / hosts.server / "console.log"
    console.write_text("booted")
    hosts.dies("power_off_for_move:end")

    hosts.evacuate()

    assert hosts.state() == ("host2", "active", None)
    disk = hosts.instances(hosts.source) / hosts.server / "disk"
    assert MARK in disk.read_bytes()
    assert hosts.status(7) == "error"


def test_a_disk_that_is_older_than_the_move_is_kept(tmp_path):
    """Nobody has sent it: somebody has removed the log of its console."""
    hosts = Evacuated(tmp_path, None)
    shared(hosts)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["created_at"] = "2099-01-01T00:00:00Z"
    hosts.dies("power_off_for_move:end")

    hosts.evacuate()

    assert hosts.state() == ("host2", "active", None)
    assert MARK in (hosts.instances(hosts.source) / hosts.server / "disk").read_bytes()


def test_disks_that_were_kept_on_shared_storage_are_not_made_anew(tmp_path):
    """They have the other name, and nobody else has them: they are named, and not touched."""
    hosts = Evacuated(tmp_path, None)
    shared(hosts)
    hosts.dies("keep_files:end")
    kept = hosts.files(hosts.source)
    assert kept == at("server_resize")

    hosts.evacuate()

    assert (hosts.state()[0], hosts.state()[2]) == ("host1", None)
    assert f"{hosts.server}_resize" in hosts.faults()[0]
    assert hosts.faults()[0].endswith("evacuate again")
    assert hosts.files(hosts.source) == kept
    assert hosts.status(8) == "failed"
