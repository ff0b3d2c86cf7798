"""A running server goes to another host: once, whole, and never on two."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

import pytest

from nova_lite.engine.bus import Moment
from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    HypervisorUnavailable,
    RemoteHostRefused,
    ServerNotFound,
    VolumeAttachFailed,
)
from nova_lite.model.domain import CpuTune
from nova_lite.operations.notified import END, ERROR, MILESTONE, START
from nova_lite.rpc import endpoint
from nova_lite.services import live_watch, migrate_data
from nova_lite.services.disk_files import CONFIG_DRIVE
from nova_lite.steps.live import source
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import ManualClock
from tests.unit.operations.host import ATTACHMENT
from tests.unit.operations.live import TARGET_URI, VERBS, LiveHosts
from tests.unit.operations.two_hosts import MIGRATION

GIB = 1024**3
MAPPINGS = "BlockDeviceMappingList.get_by_instance_uuid"
PINS = WireObject.new(
    "LibvirtLiveMigrateNUMAInfo", "1.0", cpu_pins={"0": [6]}, cell_pins={"0": [1]},
    emulator_pins=[7], sched_vcpus=[0], sched_priority=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def statuses(hosts):
    return hosts.migration()["status"]


# --- it goes ------------------------------------------------------------------------------------
def test_a_server_goes_to_another_host_while_it_runs(tmp_path):
    """It runs there, its ports are that host's, and nothing of it is left here."""
    hosts = LiveHosts(tmp_path, volume=True)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == (None, "RUNNING")
    assert statuses(hosts) == "completed"
    seen = hosts.look()
    assert seen["allocations"] == {"server": {"host2": {"VCPU": 1}}}
    assert seen["bound"] == ["host2"]
    assert seen["cinder"] == [("attached", "host2")]
    assert seen["host1"] == {"files": [], "guest": None, "taps": 0, "journal": []}
    assert seen["faults"] == []
    assert seen["ended"] == [("compute_live_migration", "finish"),
                             ("compute_live_migration", "start")]  # fmt: skip
    assert hosts.agents["host1"].tools.claims.here() == frozenset()
    assert hosts.connected(hosts.source) == []


def test_what_its_firmware_remembers_is_on_the_other_host_alone(tmp_path):
    """libvirt sends it along, and leaves the file here; one that does not go keeps it."""
    gone, stays = LiveHosts(tmp_path / "gone"), LiveHosts(tmp_path / "stays")
    for hosts in (gone, stays):
        hosts.source.hypervisor.nvrams[hosts.server] = b"boot order"
    stays.source.hypervisor.migration_error = "QEMU says no"

    gone.go()
    stays.go()

    assert gone.source.hypervisor.nvrams == {}
    assert gone.dest.hypervisor.nvrams == {gone.server: b"boot order"}
    assert stays.source.hypervisor.nvrams == {stays.server: b"boot order"}


def test_its_disks_are_copied_or_shared(tmp_path):
    """The hypervisor copies what the other host does not reach; that is told as stock tells it."""
    copied = LiveHosts(tmp_path / "copied")
    shared = LiveHosts(tmp_path / "shared", shared=True)

    for hosts in (copied, shared):
        hosts.go()

    sent = {name: hosts.source.hypervisor.sent[hosts.server].migration
            for name, hosts in (("copied", copied), ("shared", shared))}  # fmt: skip
    assert (sent["copied"].disks, sent["shared"].disks) == (("vda",), ())
    told, drive = json.loads(copied.asked("pre_live_migration")[2]["disk"])
    assert drive["path"].endswith("disk.config")
    assert told["path"] == str(copied.instances(copied.source) / copied.server / "disk")
    assert (told["type"], told["virt_disk_size"]) == ("qcow2", GIB)
    assert shared.asked("pre_live_migration")[2]["disk"] is None
    assert copied.files(copied.source) == []
    assert shared.files(shared.source) == ["server/disk", "server/disk.config", "server/disk.info"]


@pytest.mark.parametrize(("volume", "reads"), [(False, 1), (True, 2)])
def test_mappings_are_read_again_where_the_other_host_has_changed_them(tmp_path, volume, reads):
    """It changes those of volumes alone."""
    hosts = LiveHosts(tmp_path, volume=volume)
    before = hosts.conductor.read()["calls"].count(MAPPINGS)

    hosts.go()

    assert hosts.conductor.read()["calls"].count(MAPPINGS) - before == reads


def test_its_config_drive_is_sent_to_nova_compute(tmp_path):
    """Which has an empty file of that size; QEMU copies nothing that the guest may only read. A
    host with this agent has fetched it."""
    stock = LiveHosts(tmp_path / "stock", stock=True)
    drive = stock.instances(stock.source) / stock.server / CONFIG_DRIVE
    content, ours = drive.read_bytes(), LiveHosts(tmp_path / "ours")

    for hosts in (stock, ours):
        hosts.go()

    assert (stock.instances(stock.dest) / stock.server / CONFIG_DRIVE).read_bytes() == content
    assert (stock.remote.sent, ours.remote.sent) == ([CONFIG_DRIVE], [])
    assert stock.state() == ours.state() == ("host2", "active", None)


@pytest.mark.parametrize(("shared", "kind"), [(True, "iso9660"), (False, "vfat")])
def test_its_config_drive_needs_not_be_sent(tmp_path, shared, kind):
    """Where both have the directory; and as a disk, which QEMU copies with the others."""
    hosts = LiveHosts(tmp_path, stock=True, shared=shared)
    hosts.source.conf.set_override("config_drive_format", kind)

    hosts.go()

    assert hosts.remote.sent == []
    assert hosts.state() == ("host2", "active", None)


@pytest.mark.parametrize("moment", ["begin", "end"])
def test_an_agent_is_killed_while_it_sends_the_config_drive(tmp_path, moment):
    """The next one sends it, before the guest goes."""
    hosts = LiveHosts(tmp_path, stock=True)
    content = (hosts.instances(hosts.source) / hosts.server / CONFIG_DRIVE).read_bytes()

    hosts.killed(f"live_migration:send_drive:{moment}")
    hosts.resume()

    assert (hosts.instances(hosts.dest) / hosts.server / CONFIG_DRIVE).read_bytes() == content
    assert hosts.state() == ("host2", "active", None)


def test_a_config_drive_that_cannot_be_sent(tmp_path):
    """The server stays: over there it would have an empty one. Its fault says what to do."""
    hosts = LiveHosts(tmp_path, stock=True)
    hosts.remote.fail["send"] = RemoteHostRefused("ssh to host host2 is refused")

    hosts.go()

    assert hosts.state() == ("host1", "active", None)
    assert hosts.guest(hosts.source) == "RUNNING"
    assert (statuses(hosts), hosts.rolled_back) == ("failed", 1)
    assert "ssh to host host2 is refused" in hosts.look()["faults"][0]


def test_the_guest_is_changed_as_the_other_host_has_told(tmp_path):
    """Its console listens there, and its volume is opened as it is connected there."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.peers.answers["host2"]["pre_live_migration"] = lambda arguments: _elsewhere(
        hosts, hosts.prepare(arguments)
    )

    hosts.go()

    spec = hosts.dest.hypervisor.guests[hosts.server].spec
    assert [one.listen for one in spec.graphics] == ["127.0.0.2"]
    assert [disk.source for disk in spec.disks if disk.serial] == ["/dev/there"]
    assert hosts.source.hypervisor.sent[hosts.server].migration.target_uri == TARGET_URI


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"dst_cpu_shared_set_info": [4, 5]}, {"cpuset": frozenset({4, 5})}),
        ({"dst_cpu_shared_set_info": []}, {"cpuset": frozenset()}),
        ({"serial_listen_addr": "127.0.0.3", "serial_listen_ports": [10001, 10002]},
         {"serial_tcp": ("127.0.0.3", (10001, 10002))}),
        ({"dst_numa_info": PINS, "dst_cpu_shared_set_info": [9]},
         {"cpu_tune": CpuTune(pins={0: frozenset({6})}, emulator_pin=frozenset({7}),
                              realtime=frozenset({0}), realtime_priority=3)}),
    ],
)  # fmt: skip
def test_the_guest_runs_where_the_other_host_wants_it(tmp_path, fields, wanted):
    """On its CPUs, pinned or not, with its consoles at its ports."""
    hosts = LiveHosts(tmp_path, shared=True)

    def prepare(arguments):
        data = hosts.prepare(arguments)
        data.set(**fields)
        return data

    hosts.peers.answers["host2"]["pre_live_migration"] = prepare
    hosts.go()

    spec = hosts.dest.hypervisor.guests[hosts.server].spec
    assert {name: getattr(spec, name) for name in wanted} == wanted
    assert hosts.state() == ("host2", "active", None)


def test_a_volume_that_the_server_has_no_more(tmp_path):
    """The two hosts do not mean the same: nothing is sent."""
    hosts = LiveHosts(tmp_path)
    before = hosts.look()

    def prepare(arguments):
        data = hosts.prepare(arguments)
        migrate_data.write_volumes(data, [migrate_data.MovedVolume("another", "vdb", "virtio")])
        return data

    hosts.peers.answers["host2"]["pre_live_migration"] = prepare
    hosts.go()

    stays(hosts, before, "failed")
    assert "another" in hosts.faults()[0]
    assert hosts.source.hypervisor.sent == {}


def _elsewhere(hosts, data):
    with hosts.conductor.database() as tables:
        row = tables["BlockDeviceMapping"]["2"]
        connection = json.loads(row["connection_info"])
        connection["data"]["device_path"] = "/dev/there"
        row["connection_info"] = json.dumps(connection)
    return data


@pytest.mark.parametrize(
    ("options", "address", "uris"),
    [
        ({}, None, ("qemu+tcp://host2/system", None)),
        ({"live_migration_scheme": "tls"}, "fd00::2",
         ("qemu+tls://[fd00::2]/system", "tcp://[fd00::2]")),
        ({"live_migration_uri": "qemu+ssh://nova@%s/system"}, "10.0.0.2",
         ("qemu+ssh://nova@10.0.0.2/system", "tcp://10.0.0.2")),
    ],
)  # fmt: skip
def test_the_other_host_is_reached_as_configured(tmp_path, options, address, uris):
    """By the name in the request, or by the address that the other host has told."""
    hosts = LiveHosts(tmp_path, target_connect_addr=address)
    for name, value in options.items():
        hosts.source.conf.set_override(name, value, "libvirt")
    hosts.source.hypervisor.hypervisors[uris[0]] = hosts.dest.hypervisor

    hosts.go()

    sent = hosts.source.hypervisor.sent[hosts.server].migration
    assert (sent.target_uri, sent.migrate_uri) == uris
    assert hosts.state() == ("host2", "active", None)


def test_a_paused_server_stays_paused(tmp_path):
    """It is not post-copied: nothing runs that could fetch its memory."""
    hosts = LiveHosts(tmp_path, vm_state="paused", power_state=3)
    hosts.source.hypervisor.pause(hosts.server)
    hosts.source.conf.set_override("live_migration_permit_post_copy", True, "libvirt")

    hosts.go()

    assert (hosts.state(), hosts.guest(hosts.dest)) == (("host2", "paused", None), "PAUSED")
    assert not hosts.source.hypervisor.sent[hosts.server].migration.post_copy


def test_few_conductor_calls(tmp_path):
    """What is not needed is not asked; the other host's are not counted."""
    hosts = LiveHosts(tmp_path)
    with hosts.conductor.database() as tables:
        tables["calls"] = []

    hosts.go()

    calls = list(hosts.conductor.read()["calls"])
    assert len(calls) <= 12, calls


# --- it waits -----------------------------------------------------------------------------------
def plugged(hosts, agent, status="completed"):
    (port,) = hosts.ledger.read()["ports"]
    return agent.tools.events.deliver(hosts.server, "network-vif-plugged", port, status)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_ports_are_waited_for(tmp_path):
    """Before the guest is sent Neutron has said that they are wired up over there."""
    hosts = LiveHosts(tmp_path, waits=True)
    agent = hosts.begin()
    until(lambda: hosts.prepared)

    assert hosts.source.hypervisor.sent == {}
    until(lambda: plugged(hosts, agent))
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)


def test_ports_that_are_not_wired_up_keep_it_here(tmp_path):
    """It would lose its network; the fault says what to do."""
    hosts = LiveHosts(tmp_path, waits=True, volume=True)
    before = hosts.look()
    agent = hosts.begin()
    until(lambda: hosts.prepared)
    until(lambda: plugged(hosts, agent, "failed"))
    assert agent.engine.settle(60)

    stays(hosts, before, "failed")
    assert "live_migration_wait_for_vif_plug" in hosts.faults()[0]


@pytest.mark.parametrize(
    ("details", "service"), [({"ovs_create_tap": True}, 70), ({}, 74)], ids=["host", "Neutron"]
)
def test_what_cannot_be_wired_up_before_is_not_waited_for(
    tmp_path, monkeypatch, details, service
):
    """A host of 2025.1 or 2025.2, or Neutron of then, leaves the tap to libvirt, and OVN says
    nothing before the guest has come. Nor is there to be a tap in the guest's definition."""
    monkeypatch.setattr(source, "UNSURE_S", 0.1)
    hosts = LiveHosts(tmp_path, waits=True)
    hosts.details, hosts.peers.services = details, {"host2": service}

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    (nic,) = hosts.dest.hypervisor.guests[hosts.server].spec.nics
    assert nic.plug == "ethernet"


def test_no_null_is_sent_where_a_stock_host_reads_none(tmp_path):
    """How a volume is reached is noted without its secrets, and told to nobody that way."""
    hosts = LiveHosts(tmp_path, waits=True, volume=True)
    agent = hosts.begin()
    until(lambda: hosts.prepared)
    until(lambda: plugged(hosts, agent, "failed"))
    assert agent.engine.settle(60)

    (sent,) = [arguments for _, method, arguments in hosts.peers.sent
               if method == "rollback_live_migration_at_destination"]  # fmt: skip
    (volume,) = sent["migrate_data"]["bdms"]
    assert "connection_info_json" not in volume


def test_servers_leave_one_after_the_other(tmp_path):
    """Who waits for a turn is queued, and goes on when it comes."""
    hosts = LiveHosts(tmp_path)
    agent = hosts.source.agent(**hosts.parts())
    agent.tools.turns.take("another server")
    hosts.source.send(agent, "live_migration", **hosts.request())
    until(lambda: statuses(hosts) == "queued")
    assert hosts.prepared == 0

    agent.tools.turns.give_back("another server")
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)
    assert agent.tools.turns.is_free("a third server")


# --- it stays -----------------------------------------------------------------------------------
def stays(hosts, before, status, faults=1):
    """Everything is as it was, and the move is over."""
    after = hosts.look()
    for key in ("faults", "ended", "migration", "allocations", "beside", "state", "activated"):
        after.pop(key), before.pop(key)
    assert after == before
    assert hosts.state() == ("host1", "active", None)
    assert statuses(hosts) == status
    assert len(hosts.faults()) == faults
    content = hosts.ledger.read()
    assert content["allocations"] == {hosts.server: {"host1": {"VCPU": 1}}}
    assert not any(content["beside"].values())
    assert hosts.agents["host1"].tools.claims.here() <= {hosts.server}


def test_a_host_that_cannot_prepare_itself(tmp_path):
    """The server stays as it was, with the reason in its fault."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.peers.answers["host2"]["pre_live_migration"] = VolumeAttachFailed("vol", "no path")
    before = hosts.look()

    hosts.go()

    stays(hosts, before, "failed")
    assert "no path" in hosts.faults()[0]
    assert hosts.asked("rollback_live_migration_at_destination")[2]["destroy_disks"] is True


def test_an_attachment_that_the_other_host_could_not_record(tmp_path):
    """Its answer got lost: what it has made in Cinder is taken back from here."""
    hosts = LiveHosts(tmp_path, volume=True)

    def prepare(arguments):
        before = hosts.mapping()
        hosts.prepare(arguments)
        with hosts.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = before
        raise VolumeAttachFailed("vol", "no path")

    hosts.peers.answers["host2"]["pre_live_migration"] = prepare
    before = hosts.look()

    hosts.go()

    stays(hosts, before, "failed")


def test_a_migration_that_fails(tmp_path):
    """The guest goes on here; volumes, ports and allocations are as before."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.source.hypervisor.migration_error = "operation failed: network is gone"
    before, mapping = hosts.look(), hosts.mapping()

    hosts.go()

    stays(hosts, before, "failed")
    assert "network is gone" in hosts.faults()[0]
    after = hosts.mapping()
    assert after["attachment_id"] == mapping["attachment_id"] == ATTACHMENT
    kept, was = (json.loads(row["connection_info"])["data"] for row in (after, mapping))
    assert kept == was
    assert hosts.asked("remove_volume_connection")[2]["delete_attachment"] is False
    assert hosts.rolled_back == 1


def test_a_shared_directory_is_not_removed_over_there(tmp_path):
    """It is the server's own; the rest that the other host has made goes."""
    hosts = LiveHosts(tmp_path, shared=True)
    hosts.source.hypervisor.migration_error = "gone"
    before = hosts.look()

    hosts.go()

    stays(hosts, before, "failed")
    assert hosts.asked("rollback_live_migration_at_destination")[2]["destroy_disks"] is False


def test_a_server_that_is_off(tmp_path):
    """There is nothing to be sent."""
    hosts = LiveHosts(tmp_path)
    hosts.source.hypervisor.destroy(hosts.server)
    before = hosts.look()

    hosts.go()

    stays(hosts, before, "failed")
    assert "off" in hosts.faults()[0]
    assert hosts.prepared == 0


def test_a_message_that_comes_late_has_no_effect(tmp_path):
    """Somebody else has ended the move."""
    hosts = LiveHosts(tmp_path)
    hosts.set(task_state=None)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "error"
    before = hosts.look()

    hosts.go()

    after = hosts.look()
    del before["ended"], after["ended"]
    assert after == before
    assert hosts.prepared == 0


def test_a_server_whose_task_was_cleared(tmp_path):
    """Its migration must not stay open for ever."""
    hosts = LiveHosts(tmp_path)
    hosts.set(task_state=None)
    before = hosts.look()

    hosts.go()

    stays(hosts, before, "failed")
    assert hosts.prepared == 0


def test_a_target_that_is_down(tmp_path):
    """The server stays, and what that host may have prepared is its own business later."""
    hosts = LiveHosts(tmp_path)
    hosts.peers.answers.pop("host2")
    before = hosts.look()
    quick(hosts)

    hosts.go()

    stays(hosts, before, "failed")
    assert "host2" in hosts.faults()[0]


@pytest.mark.parametrize("lost", [True, False])
def test_the_disks_stay_when_the_other_host_has_lost_the_guest(tmp_path, lost, caplog):
    """It came, was seen there, and is gone before that host made the server its own: what is here
    may be all that there is. A host that has the guest and fails otherwise is believed."""
    hosts = LiveHosts(tmp_path)
    fails = []

    def finish(arguments):
        fails.append(arguments)
        if lost:
            hosts.dest.hypervisor.guests.pop(hosts.server)
        raise ServerNotFound("the guest did not arrive")

    hosts.peers.answers["host2"]["post_live_migration_at_destination"] = finish
    quick(hosts)

    hosts.go()

    assert len(fails) == 1
    assert hosts.state()[0] == "host2"
    assert ("server/disk" in hosts.files(hosts.source)) == lost
    assert ("stay in" in caplog.text) == lost


def quick(hosts):
    """Time that passes at once."""
    hosts.clock = ManualClock()


# --- it is ended, or forced ---------------------------------------------------------------------
def under_way(hosts):
    """A migration that does not come to its end by itself."""
    hosts.source.hypervisor.migration_looks = 10**9
    agent = hosts.begin()
    until(lambda: statuses(hosts) == "running" and hosts.server in hosts.source.hypervisor.sent)
    return agent


def test_a_migration_is_aborted(tmp_path):
    """By its user: the guest goes on here, without a fault."""
    hosts = LiveHosts(tmp_path, volume=True)
    before = hosts.look()
    agent = under_way(hosts)

    hosts.ask(agent, "live_migration_abort", migration_id=7)
    assert agent.engine.settle(60)

    stays(hosts, before, "cancelled", faults=0)
    events = {event for event, phase in hosts.ended() if phase == "finish"}
    assert events == {"compute_live_migration", "compute_live_migration_abort"}


def test_a_queued_migration_is_aborted_at_once(tmp_path):
    """It does not wait for its turn."""
    hosts = LiveHosts(tmp_path)
    before = hosts.look()
    agent = hosts.source.agent(**hosts.parts())
    hosts.agents["host1"] = agent
    agent.tools.turns.take("another server")
    hosts.source.send(agent, "live_migration", **hosts.request())
    until(lambda: statuses(hosts) == "queued")

    hosts.ask(agent, "live_migration_abort", migration_id=7)
    assert agent.engine.settle(60)

    stays(hosts, before, "cancelled", faults=0)
    assert hosts.prepared == 0


def test_what_is_over_is_not_aborted(tmp_path):
    """The fault says in which state it is."""
    hosts = LiveHosts(tmp_path)
    hosts.go()
    hosts.set(host="host1")  # where the message was sent to

    agent = hosts.source.agent(**hosts.parts())
    hosts.ask(agent, "live_migration_abort", migration_id=7)
    assert agent.engine.settle(60)

    assert "completed" in hosts.faults()[0]
    assert statuses(hosts) == "completed"


def test_an_abort_that_comes_too_late(tmp_path):
    """The guest has gone; the move comes to its end."""
    hosts = LiveHosts(tmp_path)
    agent = under_way(hosts)
    fake = hosts.source.hypervisor
    fake.abort_migration = lambda uuid: fake.arrive(uuid)

    hosts.ask(agent, "live_migration_abort", migration_id=7)
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)
    assert statuses(hosts) == "completed"


def test_a_migration_is_forced_by_post_copy(tmp_path):
    """The ports are switched when the guest runs over there, before all of its memory is there."""
    hosts = LiveHosts(tmp_path)
    hosts.source.conf.set_override("live_migration_permit_post_copy", True, "libvirt")
    agent = under_way(hosts)

    hosts.ask(agent, "live_migration_force_complete")
    until(lambda: statuses(hosts) == "running (post-copy)")
    assert hosts.ledger.read()["activated"] == [[port, "host2"] for port in
                                                hosts.ledger.read()["ports"]]  # fmt: skip
    hosts.source.hypervisor.arrive(hosts.server)
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)
    assert statuses(hosts) == "completed"


def test_it_is_forced_while_its_disks_are_copied(tmp_path):
    """QEMU may take post-copy for granted then, and forgets it when the memory's turn comes; it is
    told when that is sent, and again until it does so."""
    hosts = LiveHosts(tmp_path)
    hosts.source.conf.set_override("live_migration_permit_post_copy", True, "libvirt")
    fake, told, begin = (hosts.source.hypervisor, hosts.source.hypervisor.migration,
                         hosts.source.hypervisor.begin_post_copy)  # fmt: skip
    fake.migration = lambda uuid: replace(told(uuid), memory_total=0, memory_remaining=0)
    agent = under_way(hosts)
    asked = []

    hosts.ask(agent, "live_migration_force_complete")
    until(lambda: "compute_live_migration_force_complete" in str(hosts.ended()))
    time.sleep(0.3)
    assert "begin_post_copy" not in dict(fake.calls)
    assert hosts.guest(hosts.source) == "RUNNING"
    fake.begin_post_copy = asked.append  # without an effect
    fake.migration = told
    until(lambda: len(asked) > 2)
    fake.begin_post_copy = begin

    until(lambda: statuses(hosts) == "running (post-copy)")
    fake.arrive(hosts.server)
    assert agent.engine.settle(60)
    assert hosts.state() == ("host2", "active", None)


def test_a_migration_is_forced_by_holding_the_guest(tmp_path):
    """Where post-copy is not permitted; a guest that does not go runs on."""
    hosts = LiveHosts(tmp_path)
    before = hosts.look()
    agent = under_way(hosts)

    hosts.ask(agent, "live_migration_force_complete")
    until(lambda: hosts.guest(hosts.source) == "PAUSED")
    hosts.source.hypervisor.lose(hosts.server, "no more")
    assert agent.engine.settle(60)

    stays(hosts, before, "failed")


@pytest.mark.parametrize("action", ["abort", "force_complete"])
def test_a_migration_that_takes_too_long(tmp_path, action):
    """It is ended, or forced, after live_migration_completion_timeout for each GiB."""
    hosts = LiveHosts(tmp_path)
    before = hosts.look()
    hosts.source.conf.set_override("live_migration_completion_timeout", 10, "libvirt")
    hosts.source.conf.set_override("live_migration_timeout_action", action, "libvirt")
    agent = under_way(hosts)
    fake, told = hosts.source.hypervisor, hosts.source.hypervisor.migration
    fake.migration = lambda uuid: replace(told(uuid), elapsed_s=41.0)  # two disks of 2 GiB at least

    if action == "abort":
        assert agent.engine.settle(60)
        stays(hosts, before, "cancelled")
        assert "live_migration_completion_timeout" in hosts.faults()[0]
    else:
        until(lambda: hosts.guest(hosts.source) == "PAUSED")
        fake.arrive(hosts.server)
        assert agent.engine.settle(60)
        assert hosts.state() == ("host2", "active", None)


def test_disks_that_are_written_as_fast_as_they_are_copied(tmp_path, monkeypatch):
    """Who forces the migration has the guest held, where it could be post-copied else."""
    monkeypatch.setattr(live_watch, "STALLED_S", 1.0)
    hosts = LiveHosts(tmp_path)
    hosts.source.conf.set_override("live_migration_permit_post_copy", True, "libvirt")
    fake, told = hosts.source.hypervisor, hosts.source.hypervisor.migration
    left = itertools.chain(range(1000, 900, -50), itertools.repeat(950))
    fake.migration = lambda uuid: replace(told(uuid), memory_total=0, disk_remaining=next(left))
    agent = under_way(hosts)

    hosts.ask(agent, "live_migration_force_complete")
    until(lambda: hosts.guest(hosts.source) == "PAUSED")

    assert "begin_post_copy" not in dict(fake.calls)
    fake.arrive(hosts.server)
    assert agent.engine.settle(60)
    assert hosts.state() == ("host2", "active", None)


def test_a_guest_that_could_not_be_held_at_once(tmp_path):
    """libvirt was away for a moment."""
    hosts = LiveHosts(tmp_path)
    agent = under_way(hosts)
    hosts.source.hypervisor.fail("pause", HypervisorUnavailable("libvirt is away"))

    hosts.ask(agent, "live_migration_force_complete")

    until(lambda: hosts.guest(hosts.source) == "PAUSED")
    hosts.source.hypervisor.arrive(hosts.server)
    assert agent.engine.settle(60)
    assert hosts.state() == ("host2", "active", None)


def test_how_long_it_may_stand_still_is_said_when_that_counts(tmp_path):
    """libvirt takes no notice before it has begun, and QEMU would go by a default of its own."""
    hosts = LiveHosts(tmp_path)
    fake, told = hosts.source.hypervisor, hosts.source.hypervisor.migration
    fake.migration = lambda uuid: replace(told(uuid), elapsed_s=0.0)
    agent = under_way(hosts)
    until(lambda: hosts.migration()["memory_total"])
    assert "set_migration_downtime" not in dict(fake.calls)

    fake.migration = lambda uuid: replace(told(uuid), elapsed_s=0.5)

    until(lambda: "set_migration_downtime" in dict(fake.calls))
    fake.arrive(hosts.server)
    assert agent.engine.settle(60)


def test_its_progress_is_recorded(tmp_path):
    """In the migration's record and the server's."""
    hosts = LiveHosts(tmp_path)
    agent = under_way(hosts)
    until(lambda: hosts.row("progress") == 50)

    assert hosts.migration()["memory_total"] == GIB
    assert hosts.migration()["memory_remaining"] == GIB // 2
    hosts.source.hypervisor.arrive(hosts.server)
    assert agent.engine.settle(60)
    assert hosts.row("progress") == 0


def test_a_server_that_is_deleted_while_it_moves(tmp_path):
    """It is not sent any further; the delete takes what is here."""
    hosts = LiveHosts(tmp_path)
    agent = under_way(hosts)
    hosts.set(task_state="deleting")

    hosts.ask(agent, "terminate_instance", bdms=None)
    assert agent.engine.settle(60)

    assert hosts.guest(hosts.source) is None
    assert hosts.conductor.instance(hosts.server)["deleted"]
    assert MIGRATION not in hosts.ledger.read()["allocations"]
    assert statuses(hosts) == "cancelled"


def test_the_ports_follow_the_guest_at_once(tmp_path):
    """Not when somebody looks again, nor when the hypervisor has tidied up."""
    hosts = LiveHosts(tmp_path)
    agent = under_way(hosts)
    (port,) = hosts.ledger.read()["ports"]

    hosts.source.hypervisor.emit(hosts.server, "stopped", "migrated")
    until(lambda: hosts.ledger.read().get("activated") == [[port, "host2"]])

    assert hosts.state()[2] == "migrating"
    hosts.source.hypervisor.arrive(hosts.server)
    assert agent.engine.settle(60)
    assert hosts.state() == ("host2", "active", None)


def test_a_guest_that_leaves_before_the_first_look(tmp_path, monkeypatch):
    """The event that says so is heard all the same."""
    hosts = LiveHosts(tmp_path)
    fake = hosts.source.hypervisor
    migrate, fake.migration_looks = fake.migrate, 10**9

    def at_once(uuid, migration):
        migrate(uuid, migration)
        fake.emit(uuid, "stopped", "migrated")

    monkeypatch.setattr(fake, "migrate", at_once)
    (port,) = hosts.ledger.read()["ports"]
    agent = hosts.begin()

    until(lambda: hosts.ledger.read().get("activated") == [[port, "host2"]])
    fake.arrive(hosts.server)
    assert agent.engine.settle(60)


def test_what_is_told_of_it(tmp_path):
    """As stock: the part after the switch; a failure has a part of its own."""
    told = LiveHosts(tmp_path / "1"), LiveHosts(tmp_path / "2")
    told[1].source.hypervisor.migration_error = "gone"
    names = [[name for _, name in sent(hosts)] for hosts in told]

    assert names[0] == ["live_migration_post.start", "live_migration_post.end"]
    assert names[1] == ["live_migration_rollback.start", "live_migration_rollback.end", "exception"]


def sent(hosts):
    """(phase, name) of the notifications of a migration, in order."""
    agent = hosts.source.agent(**hosts.parts())
    heard = []
    hosts.agents["host1"] = agent

    def listen(event):
        operation = event.operation
        if operation is None or event.entry.method != "live_migration":
            return
        phase = {Moment.BEGUN: START, Moment.CARRIED_OUT: END, Moment.REPORTED: ERROR}.get(
            event.moment
        )
        if event.moment is Moment.STAGE_ENDED and any(
            isinstance(step, operation.milestone) for step in event.stage
        ):
            phase = MILESTONE
        if phase is not None:
            heard.extend((phase, name) for name in operation.notifications(phase))

    agent.engine.bus.subscribe(listen)
    hosts.source.send(agent, "live_migration", **hosts.request())
    assert agent.engine.settle(60)
    return heard
