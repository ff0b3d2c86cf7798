"""The agent of the host that a running server comes to is killed, or its power fails."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from nova_lite.clients.cinder import Cinder
from nova_lite.drivers.disk import durable
from nova_lite.engine.queues import Pool
from nova_lite.services import arrivals, disk_files, migrate_data
from nova_lite.wire.objects import unwrap, wrap
from tests.fakes.killed import Killed, until_killed
from tests.fakes.volume_driver import FileVolumes
from tests.unit.operations.host import ATTACHMENT, VOLUME
from tests.unit.operations.live_hosts import CHECK, POST, PRE, ROLLBACK, LiveHosts


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def begun(directory, method):
    """The hosts before a verb, and its arguments."""
    hosts = LiveHosts(directory, volume=True)
    if method == CHECK:
        return hosts, hosts.check_arguments()
    arguments = hosts.checked()
    if method == PRE:
        return hosts, arguments
    data = hosts.pre(arguments, request="req-1")
    if method == POST:
        hosts.arrive()
        return hosts, {"block_migration": True}
    with hosts.conductor.database() as tables:
        tables["BlockDeviceMapping"]["2"]["attachment_id"] = ATTACHMENT
    hosts.begin_to_arrive()
    return hosts, {"destroy_disks": True, "migrate_data": unwrap(data)}


def cut_off(hosts, how, boundary, method, arguments):
    """Carry it out until the process ends; then the next one goes on."""
    host, real = hosts.dest, hosts.dest.agent
    host.agent = lambda observer=None, **more: real(observer, **{**hosts.parts(), **more})
    getattr(host, how)(boundary, method, **arguments)
    agent = host.resume()
    host.agent = real
    return agent


@pytest.mark.parametrize("method", [CHECK, PRE, POST, ROLLBACK])
def test_it_ends_the_same_wherever_the_agent_is_killed(tmp_path, method):
    """What is begun is completed, but for a check, of which nothing is left."""
    first, arguments = begun(tmp_path / "first", method)
    before, boundaries = first.look(), []
    first.ask(first.dest, method, boundaries.append, request="req-1", **arguments)
    wanted = before if method == CHECK else first.look()
    assert wanted["journal"] == []
    for number, boundary in enumerate(boundaries):
        hosts, arguments = begun(tmp_path / str(number), method)
        agent = cut_off(hosts, "killed", boundary, method, arguments)
        assert hosts.look() == wanted, boundary
        if method == CHECK:
            assert hosts.claims(agent) == []
        if method == PRE:
            again = wrap(hosts.ask(hosts.dest, PRE, request="req-1", agent=agent, **arguments))
            assert migrate_data.old_attachments(again), boundary
            assert migrate_data.volumes(again)[0].target == "vdb", boundary
            assert hosts.look() == wanted, boundary


@pytest.mark.parametrize("method", [PRE, ROLLBACK])
def test_it_ends_the_same_wherever_the_power_fails(tmp_path, method):
    """Taps are gone, and what was not synced."""
    first, arguments = begun(tmp_path / "first", method)
    boundaries = []
    first.ask(first.dest, method, boundaries.append, request="req-1", **arguments)
    wanted = first.look()
    for number, boundary in enumerate(name for name in boundaries if name.endswith(":end")):
        hosts, arguments = begun(tmp_path / str(number), method)
        cut_off(hosts, "power_fails", boundary, method, arguments)
        assert hosts.look() == wanted, boundary


def test_a_guest_that_is_lost_with_the_power_is_whose_it_was(tmp_path):
    """Once it has come, it is this host's, off or recorded as running: it can be started."""
    first, arguments = begun(tmp_path / "first", POST)
    boundaries = []
    first.ask(first.dest, POST, boundaries.append, request="req-1", **arguments)
    for number, boundary in enumerate(name for name in boundaries if name.endswith(":end")):
        hosts, arguments = begun(tmp_path / str(number), POST)
        cut_off(hosts, "power_fails", boundary, POST, arguments)
        host, vm_state, task = hosts.state()
        assert (host, task) == ("host2", None), boundary
        assert vm_state in ("stopped", "active"), boundary
        assert hosts.guest(hosts.dest) == "SHUTDOWN", boundary
        assert hosts.look()["bound"] == ["host2"], boundary


@pytest.mark.parametrize(
    "method", [(Cinder, "create_attachment"), (FileVolumes, "connect")], ids=["made", "noted"]
)
def test_an_attachment_that_was_made_is_the_only_one(tmp_path, monkeypatch, method):
    """Cinder lets nobody update an attachment beside one that is connected."""
    hosts, arguments = begun(tmp_path, PRE)
    with monkeypatch.context() as patch:
        dies_after(patch, *method)
        agent = hosts.agent(hosts.dest)
        with until_killed(60):
            hosts.dest.send(agent, PRE, **arguments)

    hosts.dest.resume(**hosts.parts())

    seen = hosts.look()
    assert seen["cinder"] == [("attached", "host1"), ("attached", "host2")]
    assert (seen["attachment"], seen["connected"]) == (False, [VOLUME])


def test_a_directory_without_its_mark_is_nobodys(tmp_path, monkeypatch):
    """The next process makes it; and what it gives up is gone."""
    hosts, arguments = begun(tmp_path, PRE)
    usual = durable.made_whole

    @contextmanager
    def dies(path, mode=0o644):
        if path.name == arrivals.MARK:
            durable.part_name(path).write_text("{")
            raise Killed
        with usual(path, mode) as part:
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(durable, "made_whole", dies)
        agent = hosts.agent(hosts.dest)
        with until_killed(60):
            hosts.dest.send(agent, PRE, request="req-1", **arguments)
    assert hosts.look()["files"]

    agent = hosts.dest.resume(**hosts.parts())

    assert "server/disk" in hosts.look()["files"]
    data = wrap(hosts.ask(hosts.dest, PRE, request="req-1", agent=agent, **arguments))
    hosts.rollback(unwrap(data), request="req-1")
    assert hosts.look()["files"] == []


def dies_after(patch, kind, name):
    """The process ends when this has been done."""
    usual = getattr(kind, name)

    def done(*args, **kwargs):
        usual(*args, **kwargs)
        raise Killed

    patch.setattr(kind, name, done)


def test_what_was_half_removed_is_removed(tmp_path, monkeypatch):
    """The mark is in the directory, which has another name by then."""
    hosts, arguments = begun(tmp_path, ROLLBACK)

    def dies(path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(disk_files, "_remove", dies)
        agent = hosts.agent(hosts.dest)
        with until_killed(60):
            hosts.dest.send(agent, ROLLBACK, **arguments)
    assert hosts.look()["files"]

    hosts.dest.resume(**hosts.parts())

    assert hosts.look()["files"] == []
