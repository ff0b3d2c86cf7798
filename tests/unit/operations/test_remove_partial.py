"""What a move that failed has sent here goes, once it is certain that it is no server's."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import RemoteHostRefused
from nova_lite.handlers.move_claims import MoveClaims
from nova_lite.loops.partial_arrivals import PartialArrivals
from nova_lite.services.shared_storage import PREFIX
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.killed import Killed, until_killed
from tests.fakes.peers import FakePeers
from tests.unit.operations.host import Host
from tests.unit.operations.two_hosts import TwoHosts

METHOD = "remove_partial"
NODE = "fake.example"  # of the stand-in for this host
ASKED = "check_instance_shared_storage"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


class Peers(FakePeers):
    """Hosts that have disks of their own, unless ``lost``; ``meanwhile`` is called while one is
    asked."""

    lost = False

    def __init__(self, **answers):
        super().__init__(**answers)
        self.meanwhile = lambda: None

    def _send(self, host, method, arguments):
        self.meanwhile()
        answer = super()._send(host, method, arguments)
        if method == ASKED and arguments["data"]["filename"].endswith("/disk.info"):
            return not self.lost
        return answer

    def asked(self):
        """The hosts that were asked, and whether for a file of this one's or one of their own."""
        return [
            (host, "own" if arguments["data"]["filename"].endswith("/disk.info") else "shared")
            for host, method, arguments in self.sent
            if method == ASKED
        ]


class Arrival(Host):
    """host1 has the agent, and a part of the disks of a server that has stayed on host2.

    :param migration: fields of the move that has failed
    """

    def __init__(self, directory, **migration):
        super().__init__(directory)
        self.peers = Peers(host2={ASKED: False}, host3={ASKED: False})
        self.set(host="host2", node="host2", vm_state="active", task_state=None)
        self.files = directory / "instances" / self.server
        self.fill("part")
        self.move(7, **migration)

    def fill(self, content):
        self.files.mkdir(parents=True, exist_ok=True)
        (self.files / "disk").write_text(content)

    def move(self, number, **fields):
        row = {
            "id": number, "uuid": f"cccccccc-2222-3333-4444-{number:012}", "status": "error",
            "migration_type": "resize", "source_compute": "host2", "source_node": "host2",
            "dest_compute": "host1", "dest_node": NODE, "deleted": False,
            "instance_uuid": self.server, **fields,
        }  # fmt: skip
        with self.conductor.database() as tables:
            tables.setdefault("Migration", {})[str(number)] = row

    def agent(self, observer=None, **replaced):
        return super().agent(observer, **{"peers": self.peers, **replaced})

    def begin(self, agent, context=None):
        instance = WireObject.new("Instance", "2.8", uuid=self.server)
        context = context or RequestContext.admin()
        agent.engine.begin(METHOD, context, self.server, {"instance": instance})

    def look_at(self):
        agent = self.agent()
        self.begin(agent)
        assert agent.engine.settle(60)
        return agent

    def disks(self):
        """Directory -> content of the root disk."""
        return {
            path.name.replace(self.server, "uuid"): (path / "disk").read_text()
            for path in self.files.parent.glob(f"{self.server}*")
        }

    def at_rest(self):
        """Whether nothing is open, and no question has left its file."""
        probes = list(self.files.parent.rglob(f"{PREFIX}*"))
        return (probes, self.look()["journal"], self.look()["faults"]) == ([], [], 0)


@pytest.fixture
def host(tmp_path):
    return Arrival(tmp_path)


# --- it goes ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fields", [{}, {"status": "failed"}, {"migration_type": "migration"}]
)  # fmt: skip
def test_what_a_failed_move_has_sent_goes(tmp_path, fields):
    """The server's host says that it is not its own; the server is not touched."""
    host = Arrival(tmp_path, **fields)
    before = host.conductor.instance(host.server)

    host.look_at()

    assert (host.disks(), host.at_rest()) == ({}, True)
    assert host.conductor.instance(host.server) == before
    assert host.peers.asked() == [("host2", "shared"), ("host2", "own")]


def test_that_is_so_when_the_server_has_moved_on(host):
    """Who is asked is the host that has it now."""
    host.move(8, status="confirmed", dest_compute="host3", dest_node="host3")
    host.set(host="host3", node="host3")

    host.look_at()

    assert host.disks() == {}
    assert host.peers.asked() == [("host3", "shared"), ("host3", "own")]


def test_asked_twice_it_is_removed_once(host):
    """Of the same request, and of another one."""
    agent, context = host.agent(), RequestContext.admin()

    for asked in (context, context, RequestContext.admin()):
        host.begin(agent, asked)
    assert agent.engine.settle(60)
    host.look_at()

    assert (host.disks(), host.at_rest()) == ({}, True)
    assert len(host.peers.sent) == 2


def test_the_rest_of_a_removal_goes(host):
    """It was cut off; nobody needs to be asked for that."""
    host.files.rename(host.files.with_name(f"{host.server}_del"))

    host.look_at()

    assert (host.disks(), host.peers.sent) == ({}, [])


def test_a_source_that_could_not_reach_this_host_is_cleaned_up_after(tmp_path):
    """From the failed move to the loop that finds what it has left."""
    hosts = TwoHosts(tmp_path)
    for method in ("send", "remove"):
        hosts.remote.fail[method] = RemoteHostRefused("host2 does not answer")
    hosts.move(until="finish_resize")
    left = hosts.instances(hosts.dest) / hosts.server
    assert (hosts.state(), left.is_dir()) == (("host1", "active", None), True)
    (left / "disk.1-2.ab.part").write_text("part")
    hosts.peers = Peers(host1={ASKED: False})

    agent = hosts.dest.agent(**hosts.parts())
    PartialArrivals(hosts.instances(hosts.dest), agent.tools, agent.engine).tick()
    assert agent.engine.settle(60)

    assert not left.exists()
    assert hosts.state() == ("host1", "active", None)
    assert (hosts.instances(hosts.source) / hosts.server / "disk").exists()


# --- it stays -----------------------------------------------------------------------------------
def said(host, caplog):
    """What the log says of a directory that is not removed."""
    ends = ("left alone", "it stays")
    return [line for line in caplog.messages
            if str(host.files) in line and any(end in line for end in ends)]  # fmt: skip


def stays(host, caplog, *words):
    """Nothing is touched, and one line says which directory that is, and what to do."""
    with caplog.at_level(logging.INFO):
        host.look_at()

    assert (host.disks(), host.at_rest()) == ({"uuid": "part"}, True)
    (line,) = said(host, caplog)
    assert [word for word in words if word not in line] == []


def test_what_the_other_host_has_too_stays(host, caplog):
    """It is the server's directory."""
    host.peers.answers["host2"][ASKED] = True

    stays(host, caplog, "shared with host host2")


def test_what_may_be_shared_stays(host, caplog):
    """The other host does not answer: it may be down."""
    del host.peers.answers["host2"]

    stays(host, caplog, "does not tell what", "agent of host host2 runs")


def test_what_the_other_host_does_not_have_stays(host, caplog):
    """It may have lost the mount of a directory that both share, and this be the only copy."""
    host.peers.lost = True

    stays(host, caplog, "host2", "does not have its disks", "lacks a mount")


def test_an_empty_directory_goes_in_any_case(host):
    """Of a server without disks, or of a move that came no further."""
    host.peers.lost = True
    (host.files / "disk").unlink()

    host.look_at()

    assert not host.files.exists()
    assert host.peers.asked() == [("host2", "shared")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task_state": "resize_prep"}, ("looked at again",)),
        ({"task_state": "rebuilding"}, ("looked at again",)),
        ({"deleted": True}, ("was deleted", "remove it")),
        ({"host": None, "node": None}, ("on no host", "remove it")),
    ],
)
def test_a_server_that_is_not_at_rest_on_another_host_keeps_it(host, caplog, fields, words):
    """Nobody could say whose the directory is."""
    host.set(**fields)

    stays(host, caplog, *words)
    assert host.peers.sent == []


def test_what_nobody_knows_stays(host, caplog):
    """It may be of another cloud."""
    with host.conductor.database() as tables:
        del tables["Instance"][host.server]

    agent = host.agent()
    with caplog.at_level(logging.INFO):
        host.begin(agent)
        assert agent.engine.settle(60)

    assert host.disks() == {"uuid": "part"}
    (line,) = said(host, caplog)
    assert "nobody knows the server" in line


def test_a_server_of_this_host_keeps_it(host, caplog):
    """It came, and failed to start: these are its disks, and nobody is told to remove them."""
    host.set(host="host1", node=NODE, vm_state="error")

    with caplog.at_level(logging.INFO):
        host.look_at()

    assert (host.disks(), host.peers.sent) == ({"uuid": "part"}, [])
    assert said(host, caplog) == []


def test_a_guest_keeps_it(host, caplog, monkeypatch):
    """Whatever the records say."""
    monkeypatch.setattr(host.hypervisor, "defined", lambda uuid: uuid == host.server)

    stays(host, caplog, "a guest of the server is here", "virsh undefine")
    assert host.peers.sent == []


@pytest.mark.parametrize("status", ["pre-migrating", "migrating", "post-migrating", "finished"])
@pytest.mark.parametrize("dest", ["host1", "host3"])
def test_an_open_move_keeps_it(host, caplog, status, dest):
    """To this host, which is written to; to a third one, which may share the directory."""
    host.move(8, status=status, dest_compute=dest)

    stays(host, caplog, "looked at again")
    assert host.peers.sent == []


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "confirmed"},
        {"status": "reverted"},
        {"migration_type": "live-migration"},
        {"migration_type": "evacuation", "status": "failed"},
        {"source_compute": "host1", "dest_compute": "host3"},
        {"source_compute": "host1", "dest_compute": "host2", "status": "confirmed"},
        {"source_compute": "host1", "migration_type": "evacuation", "status": "done"},
    ],
)
def test_what_is_of_another_move_stays(host, caplog, fields):
    """A later one that went well, or of another kind, or away from this host: what is here may be
    whole."""
    host.move(8, **fields)

    stays(host, caplog, "last move", "remove it")
    assert host.peers.sent == []


# --- meanwhile ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        lambda host: host.move(8, status="pre-migrating", dest_compute="host3"),
        lambda host: host.set(task_state="resize_prep"),
        lambda host: host.set(host="host3", node="host3"),
    ],
)
def test_a_move_that_begins_while_the_other_host_is_asked_keeps_it(host, change):
    """To a host that may share the directory: its messages do not wait in this host's queue."""
    host.peers.meanwhile = lambda: change(host)

    host.look_at()

    assert (host.disks(), host.at_rest()) == ({"uuid": "part"}, True)


def test_what_a_new_move_makes_during_the_removal_stays(host, monkeypatch):
    """The old files have another name by then."""
    real = shutil.rmtree

    def rmtree(path, *more, **options):
        host.fill("new")
        real(path, *more, **options)

    monkeypatch.setattr("nova_lite.services.disk_files.shutil.rmtree", rmtree)

    host.look_at()

    assert host.disks() == {"uuid": "new"}


def test_a_claim_that_is_dropped_later_removes_nothing(host):
    """The other host tells of the failed move while a new one is being written."""
    agent = host.agent()
    host.move(8, status="migrating")
    host.fill("new")
    instance = WireObject.new("Instance", "2.8", uuid=host.server)

    MoveClaims(agent.tools).drop_move_claim_at_destination(RequestContext.admin(), instance)
    host.begin(agent)
    assert agent.engine.settle(60)

    assert host.disks() == {"uuid": "new"}


# --- kills --------------------------------------------------------------------------------------
def boundaries(directory):
    return Arrival(directory).boundaries(METHOD)


@pytest.mark.parametrize("how", ["killed", "power_fails"])
def test_it_ends_the_same_wherever_it_is_cut_off(tmp_path, how):
    """By a kill, or by a loss of power."""
    steps = boundaries(tmp_path / "first")
    assert any("remove_partial_files" in step for step in steps)
    for number, boundary in enumerate(steps):
        host = Arrival(tmp_path / str(number))
        getattr(host, how)(boundary, METHOD)

        host.resume()

        assert (host.disks(), host.at_rest()) == ({}, True), boundary


def test_a_new_move_keeps_what_is_there_wherever_it_was_cut_off(tmp_path):
    """The process that resumes looks at the records anew."""
    for number, boundary in enumerate(boundaries(tmp_path / "first")):
        host = Arrival(tmp_path / str(number))
        host.killed(boundary, METHOD)
        host.move(8, status="migrating")
        host.fill("new")

        host.resume()

        assert host.disks() == {"uuid": "new"}, boundary


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("point", ["asked", "renamed", "half removed"])
def test_a_kill_in_the_middle(host, monkeypatch, point, new):
    """After the question, after the rename, and in the middle of the files."""
    real = shutil.rmtree

    def dies(*_arguments, **_options):
        raise Killed

    def rmtree(path, *_more, **_options):
        if point == "half removed":
            (Path(path) / "disk").unlink()
        raise Killed

    agent = host.agent()
    with monkeypatch.context() as patched:
        if point == "asked":
            host.peers.meanwhile = dies
        else:
            patched.setattr("nova_lite.services.disk_files.shutil.rmtree", rmtree)
        with until_killed():
            host.begin(agent)
    assert shutil.rmtree is real
    host.peers.meanwhile = lambda: None
    assert host.files.exists() == (point == "asked")
    if new:
        host.move(8, status="migrating")
        host.fill("new")

    host.resume()

    assert host.disks() == ({"uuid": "new"} if new else {})
    assert host.look()["journal"] == []
