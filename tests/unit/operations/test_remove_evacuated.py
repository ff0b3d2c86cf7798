"""Servers that were evacuated from this host: nothing of them is left on it."""

from __future__ import annotations

import pytest

from nova_lite.errors import VolumeDetachFailed
from nova_lite.loops.evacuated import EvacuatedServers
from tests.fakes.killed import Killed, until_killed
from tests.fakes.one_host import OneHost

STEPS = (
    "remove_guest", "unplug_interfaces", "disconnect_own_volumes", "remove_own_files",
    "release_own_shares", "release_resources", "drop_host_allocation", "complete_evacuation",
)  # fmt: skip
KILLS = ["remove_evacuated:accepted"] + [
    f"remove_evacuated:{step}:{phase}" for step in STEPS for phase in ("begin", "end")
]


@pytest.fixture
def host(tmp_path):
    return OneHost(tmp_path)


def look(host):
    found = EvacuatedServers("host1", host.tools.migrations, host.engine).look()
    host.settle()
    return found


def left(host, server):
    """Guest, plugged ports, connected volumes, files, share of the host."""
    return (
        host.guests(), host.vifs.ports, host.volumes.connected(), host.files(server),
        "host1" in host.allocations(server), host.tools.claims.servers(),
    )  # fmt: skip


NOTHING = ({}, {}, [], [], False, frozenset())


@pytest.fixture
def evacuated(host):
    """A server with a port and a volume that another host has by now; its migration, too."""
    server = host.boot()
    host.attach_volume(server)
    return server, host.evacuate(server)


def test_nothing_is_left_on_this_host(host, evacuated):
    """And the record, the ports and the attachment are as the other host has them."""
    server, migration = evacuated
    before, ports = host.conductor.instance(server), host.ledger.read()["ports"]
    mappings = host.conductor.read()["BlockDeviceMapping"]

    assert look(host) == {server}

    assert left(host, server) == NOTHING
    assert host.allocations(server) == {"host2": {"VCPU": 1}}
    assert host.migration(migration)["status"] == "completed"
    assert host.conductor.instance(server) == before
    assert host.ledger.read()["ports"] == ports
    assert host.conductor.read()["BlockDeviceMapping"] == mappings
    assert (host.events(), host.journal()) == ([], [])


def test_afterwards_there_is_nothing_to_do(host, evacuated):
    """A second look finds no migration."""
    look(host)

    assert look(host) == set()


@pytest.mark.parametrize("status", ["accepted", "pre-migrating"])
def test_an_evacuation_that_has_only_begun_counts(host, status):
    """As in stock: the record names this host until the other one has built the server."""
    server = host.boot()
    migration = host.evacuate(server, status)

    look(host)

    assert left(host, server) == NOTHING
    assert host.migration(migration)["status"] == "completed"
    assert host.row(server) == ("host1", "active", "rebuilding", 1)


def test_a_server_that_came_back_is_left_alone(host):
    """Its old evacuation was never completed, because this host could not."""
    server = host.boot()
    migration = host.evacuate(server)
    host.conductor.set(server, host="host1", node="host1")

    look(host)

    assert host.guests() == {server: "RUNNING"}
    assert host.files(server)
    assert "host1" in host.allocations(server)
    assert host.migration(migration)["status"] == "completed"


def test_a_server_that_is_arriving_again_is_not_touched(host, evacuated):
    """The guest here may be the one that is migrating in."""
    server, migration = evacuated
    host.migrate(server, "running", "live-migration", source="host2", target="host1")

    look(host)

    assert host.guests() == {server: "RUNNING"}
    assert host.migration(migration)["status"] == "done"


def test_a_server_that_was_shelved_since_then_goes(host, evacuated):
    """It is on no host: not on this one either."""
    server, _ = evacuated
    host.conductor.set(server, host=None, node=None, vm_state="shelved_offloaded")

    look(host)

    assert left(host, server) == NOTHING


def test_a_server_that_was_deleted_since_then_goes_with_all_its_disks(host, evacuated):
    """Nobody is asked whether they are shared."""
    server, migration = evacuated
    host.conductor.set(server, deleted=True, vm_state="deleted")
    host.peers.shared.add("host2")

    look(host)

    assert left(host, server) == NOTHING
    assert host.peers.asked == []
    assert host.migration(migration)["status"] == "completed"


@pytest.mark.parametrize("how", ["shared", "away"])
def test_disks_that_the_other_host_may_use_stay(host, evacuated, how):
    """It says so, or does not answer: nothing is taken from under a running guest."""
    server, migration = evacuated
    getattr(host.peers, how).add("host2")
    files = host.files(server)

    look(host)

    assert host.peers.asked == [("host2", "check_instance_shared_storage")]
    assert host.files(server) == files
    assert (host.guests(), host.volumes.connected()) == ({}, [])
    assert host.migration(migration)["status"] == "completed"


def test_disks_in_a_cluster_stay(host, evacuated, monkeypatch):
    """The other host starts from the same images; what is a file here goes."""
    server, _ = evacuated
    monkeypatch.setattr(type(host.tools.disks), "shared", True)
    monkeypatch.setattr(
        type(host.tools.disks), "remove_all", lambda *_: pytest.fail("disks of the other host")
    )

    look(host)

    assert host.files(server) == []


def test_taps_that_the_network_cache_does_not_know_go_too(host, evacuated):
    """A port was detached on the other host; its tap here would stay in the switch for ever."""
    server, _ = evacuated
    unplugged = []
    unplug = host.vifs.unplug
    host.vifs.unplug = lambda vif, **owner: (unplugged.append(vif.devname), unplug(vif, **owner))
    (tap,) = [device for _, device in host.hypervisor.taps(server)]
    with host.conductor.database() as tables:
        tables["InstanceInfoCache"][server]["network_info"] = "[]"

    look(host)

    assert unplugged == [tap]


def test_what_failed_is_begun_again_later(host, evacuated):
    """The guest is gone at once; the migration stays open until all is done."""
    server, migration = evacuated
    disconnect, host.volumes.disconnect = host.volumes.disconnect, refuse

    look(host)

    assert host.guests() == {}
    assert host.migration(migration)["status"] == "done"

    host.volumes.disconnect = disconnect
    look(host)

    assert left(host, server) == NOTHING
    assert host.migration(migration)["status"] == "completed"


def refuse(connection, server_uuid, force=False):
    raise VolumeDetachFailed(connection.volume_id, "busy")


@pytest.mark.parametrize("boundary", KILLS)
def test_killed_anywhere_it_goes_on(host, evacuated, boundary, monkeypatch):
    """By its journal and by the migration record, whichever is left."""
    server, migration = evacuated

    def observe(passed):
        if passed == boundary:
            raise Killed

    host.restart(observe)
    with until_killed():
        EvacuatedServers("host1", host.tools.migrations, host.engine).look()

    host.restart()
    host.engine.resume()
    look(host)

    assert left(host, server) == NOTHING
    assert host.migration(migration)["status"] == "completed"
    assert host.journal() == []


def test_what_is_resumed_for_such_a_server_comes_to_nothing(host, monkeypatch):
    """Whichever is first: the server is elsewhere for the one, and gone for the other."""
    server = host.boot()
    host.hypervisor.destroy(server)
    host.conductor.set(server, vm_state="stopped", task_state="powering-on")

    def observe(passed):
        if passed == "start_instance:define_guest:end":
            raise Killed

    host.restart(observe)
    with until_killed():
        host.send("start_instance", server)
    host.evacuate(server)
    before = host.conductor.instance(server)

    host.restart()
    host.engine.resume()
    look(host)

    assert left(host, server) == NOTHING
    assert host.conductor.instance(server) == before
