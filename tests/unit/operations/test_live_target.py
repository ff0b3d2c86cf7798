"""A running server comes to this host: checked, prepared for, taken in, or cleaned up after."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from nova_lite.drivers.disk import qemu_img
from nova_lite.engine.queues import Pool
from nova_lite.errors import NetworkRequestInvalid, NovaLiteError
from nova_lite.inventory.claims import Sizes
from nova_lite.inventory.numa_host import host_cells
from nova_lite.loops.partial_arrivals import PartialArrivals
from nova_lite.loops.schedule import periodic_tasks
from nova_lite.model.host import NumaCell
from nova_lite.model.live_migration import Migrating
from nova_lite.model.states import PowerState
from nova_lite.services import migrate_data
from nova_lite.wire.objects import unwrap, wrap
from tests.unit.operations.host import ATTACHMENT, RECORDED, VOLUME
from tests.unit.operations.live_hosts import CHECK, LiveHosts

GIB = 1024**3
LOOPS = (
    "power state sync", "guests of deleted servers", "leftover directories",
    "stray interfaces", "files of failed moves", "abandoned mappings", "files kept for moves",
)  # fmt: skip


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def hosts(tmp_path):
    return LiveHosts(tmp_path)


# --- it comes -----------------------------------------------------------------------------------
def test_a_server_with_a_disk_that_is_copied_comes(hosts):
    """Prepared, taken in, and this host's by its record, its ports and its definition."""
    arguments = hosts.checked()
    data = hosts.pre(arguments)

    assert migrate_data.copies_disks(data)
    where = hosts.instances(hosts.dest) / hosts.server
    made = qemu_img.info(where / "disk")
    assert (made["format"], made["virtual-size"]) == ("qcow2", GIB)
    assert made["backing-filename"].startswith(str(hosts.instances(hosts.dest) / "_base"))
    drive = hosts.instances(hosts.source) / hosts.server / "disk.config"
    assert (where / "disk.config").read_bytes() == drive.read_bytes()
    assert hosts.state() == ("host1", "active", "migrating")
    assert len(hosts.dest.vifs.ports) == 1
    hosts.arrive()

    hosts.post()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.row("node"), hosts.row("progress"), hosts.row("power_state")) == (
        "fake.example", 0, 1,
    )  # fmt: skip
    assert hosts.look()["bound"] == ["host2"]
    assert hosts.look()["beside"] == []
    assert hosts.guest(hosts.dest) == "RUNNING"
    assert hosts.files(hosts.dest) == ["server/disk", "server/disk.config", "server/disk.info"]
    assert hosts.claims() == ["current"]
    assert hosts.faults() == []
    assert hosts.ended() == sorted(
        (f"compute_{name}", phase)
        for name in ("check_can_live_migrate_destination", "check_can_live_migrate_source",
                     "pre_live_migration", "post_live_migration_at_destination")
        for phase in ("start", "finish")
    )  # fmt: skip


@pytest.mark.parametrize(("service", "made"), [(74, True), (70, False)])
def test_a_tap_is_made_before_where_both_hosts_know_of_it(hosts, service, made):
    """What comes from an older host says that libvirt makes it, and libvirt refuses one that is
    there."""
    arguments = hosts.checked()
    for row in migrate_data.read(wrap(arguments["migrate_data"])).get("vifs"):
        row.set(host="host2", vif_type="ovs", vnic_type="normal",
                vif_details_json='{"ovs_create_tap": true}')  # fmt: skip
    hosts.peers.services = {"host1": service}

    hosts.pre(arguments)

    (vif,) = hosts.dest.vifs.plugged_vifs(hosts.server)[hosts.server]
    assert vif.made_before == made


def test_a_volume_gets_a_second_attachment(tmp_path):
    """The source is told of the first one, and how the volume is reached here."""
    hosts = LiveHosts(tmp_path, volume=True)

    data = hosts.pre(hosts.checked())

    assert migrate_data.old_attachments(data) == {VOLUME: ATTACHMENT}
    (volume,) = migrate_data.volumes(data)
    assert (volume.volume_id, volume.target, volume.bus) == (VOLUME, "vdb", "virtio")
    assert volume.connection.data["device_path"] != "/there"
    assert hosts.cinder() == [("attached", "host1"), ("attached", "host2")]
    assert hosts.mapping()["attachment_id"] != ATTACHMENT
    assert hosts.connected(hosts.dest) == [VOLUME]


def test_files_that_both_hosts_have_are_left_alone(tmp_path):
    """Shared storage is found out; nothing is made in it, nothing removed."""
    hosts = LiveHosts(tmp_path, shared=True)
    before = hosts.files(hosts.source)

    arguments = hosts.checked()
    data = hosts.pre(arguments)

    assert (migrate_data.shares_directory(data), migrate_data.copies_disks(data)) == (True, False)
    assert hosts.files(hosts.source) == before
    hosts.rollback(unwrap(data), request="req-3")
    assert hosts.files(hosts.source) == before


def test_the_answer_is_what_a_stock_source_reads(hosts):
    """All fields that it has in a recorded answer."""
    data = hosts.pre(hosts.checked())

    assert set(data.data) == {
        "filename", "image_type", "block_migration", "disk_available_mb",
        "is_shared_instance_path", "is_shared_block_storage", "instance_relative_path",
        "graphics_listen_addr_vnc", "graphics_listen_addr_spice", "serial_listen_addr",
        "serial_listen_ports", "bdms", "target_connect_addr", "supported_perf_events",
        "dst_wants_file_backed_memory", "dst_cpu_shared_set_info", "is_volume_backed",
        "old_vol_attachment_ids", "wait_for_vif_plugged", "vifs", "pci_dev_map_src_dst",
    }  # fmt: skip
    assert (data.name, data.version) == ("LibvirtLiveMigrateData", "1.13")
    assert data["wait_for_vif_plugged"] is True


def test_the_offer_is_what_a_stock_source_reads(hosts):
    """All fields that it has in a recorded question, and as many."""
    hosts.check(block=True, over_commit=False)

    recorded = json.loads((RECORDED.parent / "check_can_live_migrate_source.json").read_text())
    asked = recorded[0]["request"]["args"]["dest_check_data"]["nova_object.data"]
    offered = {*hosts.peers.offered.data}
    answered = {"is_shared_instance_path", "is_shared_block_storage", "is_volume_backed",
                "instance_relative_path", "pci_dev_map_src_dst"}  # fmt: skip
    assert offered - answered == set(asked)


def test_disks_in_a_cluster_are_shared(tmp_path):
    """By both hosts that have them there: none is copied, and the directory is made."""
    hosts = LiveHosts(tmp_path)
    usual = hosts.agent

    def agent(host, observer=None, **more):
        made = usual(host, observer, **more)
        made.tools.disks.shared = True
        return made

    for host in (hosts.source, hosts.dest):
        host.conf.set_override("images_type", "qcow2", "libvirt")
    hosts.agent = agent

    data = hosts.pre(hosts.checked())

    assert migrate_data.shares_disks(data)
    assert not migrate_data.shares_directory(data)
    assert not migrate_data.copies_disks(data)
    assert "server/disk" not in hosts.files(hosts.dest)
    assert "server/.arriving" in hosts.files(hosts.dest)


def test_serial_consoles_have_ports_of_this_host(tmp_path):
    """As many as the flavor wants, and none that another guest has."""
    conf = [("serial_console.enabled", True), ("serial_console.proxyclient_address", "127.0.0.1"),
            ("serial_console.port_range", "23400:23500")]  # fmt: skip
    hosts = LiveHosts(tmp_path, conf=conf)

    data = hosts.pre(hosts.checked())

    found = migrate_data.listening(data)
    assert found.serial == "127.0.0.1"
    assert len(found.serial_ports) == 1
    assert 23400 <= found.serial_ports[0] < 23500


def test_what_the_message_lacks_is_read(hosts):
    """Such as the place on NUMA nodes, which decides about a claim."""
    hosts.lacking = ("numa_topology", "flavor")

    assert migrate_data.copies_disks(hosts.check())


def test_nothing_is_left_of_a_look_for_shared_storage(hosts):
    """The file is removed on both ways out."""
    hosts.check()
    hosts.peers.away = True
    with pytest.raises(Exception, match="did not answer"):
        hosts.check()

    assert hosts.files(hosts.dest) == []


# --- it is refused ------------------------------------------------------------------------------
def refused(hosts, **asked):
    with pytest.raises(Exception) as caught:
        hosts.check(**asked)
    assert caught.value.nova_name == "MigrationPreCheckError"
    assert hosts.files(hosts.dest) == []
    assert hosts.state() == ("host1", "active", "migrating")
    return str(caught.value)


def test_shared_storage_that_is_not_shared_is_refused(hosts):
    """With the host and the reason, so that the conductor tries the next one."""
    text = refused(hosts, block=False)

    assert "host1" in text
    assert "Shared storage live-migration requires" in text
    assert text in hosts.faults()


def test_a_copy_of_what_is_shared_is_refused(tmp_path):
    """It would overwrite the disk that the guest writes to."""
    hosts = LiveHosts(tmp_path, shared=True)

    with pytest.raises(Exception, match="Block migration can not be used with shared"):
        hosts.check(block=True)


def test_no_room_is_refused(hosts):
    """By the full size of the disks, unless the operator lets them be over-committed."""
    hosts.dest.conf.set_override("reserved_host_disk_mb", 10**9)

    text = refused(hosts, block=True, over_commit=False)

    assert "Disk of instance is too large" in text


def test_a_guest_that_is_off_is_refused(hosts):
    """Its host says so."""
    hosts.source.hypervisor.destroy(hosts.server)

    assert "is off on host host1" in refused(hosts)


def test_a_cpu_that_lacks_something_is_refused(hosts):
    """It is compared with the one of the host that the guest is on."""
    hosts.dest.conf.set_override("virt_type", "kvm", "libvirt")
    hosts.dest.conf.set_override("cpu_mode", "host-model", "libvirt")
    with hosts.conductor.database() as tables:
        info = json.dumps({"arch": "x86_64", "model": "Nehalem", "features": ["avx512f", "sse"]})
        tables["ComputeNode"] = {"1": {"id": 1, "host": "host1", "cpu_info": info}}

    assert "host host2: Unacceptable CPU info: missing features: avx512f" in refused(hosts)


def test_the_policy_of_a_group_is_looked_at_again(hosts):
    """Another member may be here by now."""
    with hosts.conductor.database() as tables:
        tables["InstanceGroup"] = {"1": {
            "id": 1, "policy": "affinity", "members": [hosts.server], "uuid": "g",
        }}  # fmt: skip

    hosts.conductor.object_instancegroup_get_hosts = lambda *_, **__: ({}, ["host1"])

    assert "Affinity instance group policy was violated" in refused(hosts)


def test_somebody_elses_directory_is_refused(hosts):
    """And left alone."""
    where = hosts.instances(hosts.dest) / hosts.server
    where.mkdir(parents=True)
    (where / "disk").write_text("precious")

    with pytest.raises(Exception, match="which its agent has not made for"):
        hosts.check()

    assert (where / "disk").read_text() == "precious"


# --- it does not come ---------------------------------------------------------------------------
def test_nothing_is_left_when_the_preparation_fails(tmp_path):
    """The volume is the other host's alone again, with the connection that it had there."""
    hosts = LiveHosts(tmp_path, volume=True)
    arguments = hosts.checked()
    before = hosts.look()
    with hosts.ledger.open() as content:
        content["cinder"]["fail"] = {"os-complete": 400}

    with pytest.raises(Exception, match="os-complete was made to fail"):
        hosts.pre(arguments)

    assert hosts.look() == before
    assert json.loads(hosts.mapping()["connection_info"]) == hosts.connection
    assert hosts.claims() == []
    assert len(hosts.faults()) == 1


def test_a_rollback_leaves_nothing(tmp_path):
    """After the source has given the volumes back what they had."""
    hosts = LiveHosts(tmp_path, volume=True)
    data = hosts.pre(hosts.checked(), request="req-m")
    with hosts.conductor.database() as tables:
        tables["BlockDeviceMapping"]["2"]["attachment_id"] = ATTACHMENT

    hosts.rollback(unwrap(data), request="req-m")

    seen = hosts.look()
    assert (seen["files"], seen["taps"], seen["connected"], seen["beside"]) == ([], 0, [], [])
    assert (seen["guest"], seen["bound"], seen["migrating_to"]) == (None, ["host1"], [])
    assert hosts.claims() == []


def test_a_guest_that_is_only_partly_here_is_removed(hosts):
    """libvirt of the other host has died, and this one waits for the rest."""
    data = hosts.pre(hosts.checked(), request="req-m")
    hosts.begin_to_arrive()

    hosts.rollback(unwrap(data), request="req-m")

    assert hosts.look()["guest"] is None
    assert hosts.look()["files"] == []


def test_what_its_firmware_was_about_to_remember_is_removed(hosts):
    """libvirt has made a file for it, and leaves that when the rest does not come."""
    hosts.source.hypervisor.nvrams[hosts.server] = b"boot order"
    data = hosts.pre(hosts.checked(), request="req-m")
    hosts.begin_to_arrive()
    assert hosts.dest.hypervisor.nvrams == {hosts.server: b"new"}

    hosts.rollback(unwrap(data), request="req-m")

    assert hosts.dest.hypervisor.nvrams == {}
    assert hosts.source.hypervisor.nvrams == {hosts.server: b"boot order"}


def test_a_guest_that_runs_here_is_never_touched(hosts):
    """Whatever the other host believes; nor is anything that it uses."""
    data = hosts.pre(hosts.checked(), request="req-m")
    hosts.arrive()
    before = hosts.look()

    with pytest.raises(NovaLiteError, match="keeps what it uses"):
        hosts.rollback(unwrap(data), request="req-m")

    after = hosts.look()
    assert after["guest"] == "RUNNING"
    assert after == before


def test_a_late_rollback_of_an_earlier_attempt_has_no_effect(hosts):
    """The host is prepared for the next one."""
    data = hosts.pre(hosts.checked(), request="req-new")
    before = hosts.look()

    with pytest.raises(Exception, match="later live migration"):
        hosts.rollback(unwrap(data), request="req-old")

    assert hosts.look() == before


# --- it has come --------------------------------------------------------------------------------
def test_a_guest_that_is_not_here_is_not_recorded(hosts):
    """It may run on the other host: the record does not lead to this one."""
    hosts.pre(hosts.checked())

    with pytest.raises(Exception, match="is not on host host2"):
        hosts.post()

    assert hosts.state() == ("host1", "active", "migrating")


def test_a_guest_that_has_died_since_can_be_started(hosts):
    """The record says that it is off, and whose it is."""
    hosts.pre(hosts.checked())
    hosts.arrive()
    hosts.dest.hypervisor.destroy(hosts.server)

    hosts.post()

    assert hosts.state() == ("host2", "stopped", None)
    assert hosts.row("power_state") == 4


@pytest.mark.parametrize(("vm_state", "state"), [("active", "RUNNING"), ("paused", "PAUSED")])
def test_a_guest_that_was_held_at_the_end_goes_on(tmp_path, vm_state, state):
    """The other host has lost its power in the switch-over, and knows by now that it has none."""
    hosts = LiveHosts(tmp_path, vm_state=vm_state)
    hosts.pre(hosts.checked())
    hosts.arrive()
    guest = hosts.dest.hypervisor.guests[hosts.server]
    guest.state, guest.migrating = PowerState.PAUSED, Migrating.UNDECIDED

    hosts.post()

    assert hosts.state() == ("host2", vm_state, None)
    assert hosts.guest(hosts.dest) == state


def test_a_paused_server_stays_paused(tmp_path):
    """Its user wants it so."""
    hosts = LiveHosts(tmp_path, vm_state="paused", power_state=3)
    hosts.source.hypervisor.pause(hosts.server)
    hosts.pre(hosts.checked())
    hosts.arrive()

    hosts.post()

    assert hosts.state() == ("host2", "paused", None)
    assert (hosts.guest(hosts.dest), hosts.row("power_state")) == ("PAUSED", 3)


def test_it_is_here_though_neutron_does_not_answer(hosts):
    """The guest is; ports can be bound later."""
    hosts.pre(hosts.checked())
    hosts.arrive()
    agent = hosts.agent(hosts.dest)

    def broken(*_, **__):
        raise NetworkRequestInvalid("broken on purpose")

    agent.tools.ports.bind = broken

    hosts.post(agent=agent)

    assert hosts.state() == ("host2", "active", None)


def test_a_server_that_is_being_deleted_is_deleted_here(hosts):
    """Its guest is: the loop that looks for such guests finds it by this host's name."""
    hosts.pre(hosts.checked())
    hosts.arrive()
    hosts.set(task_state="deleting")

    hosts.post()

    assert hosts.state() == ("host2", "active", "deleting")


def test_asked_twice_it_has_come_once(hosts):
    """The second message has nothing to do."""
    hosts.pre(hosts.checked())
    hosts.arrive()
    hosts.post()
    before = hosts.look()
    hosts.set(task_state="rebooting")

    hosts.post()

    assert hosts.state() == ("host2", "active", "rebooting")
    hosts.set(task_state=None)
    assert hosts.look() == before


# --- what the other host could not ask for ------------------------------------------------------
def removal(hosts):
    """The loop that looks for such leftovers, and what it begins."""
    agent = hosts.agent(hosts.dest)
    hosts.last = agent
    PartialArrivals(hosts.instances(hosts.dest), agent.tools, agent.engine).tick()
    assert agent.engine.settle(30)


def over(hosts, status):
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = status
        tables["BlockDeviceMapping"]["2"].update(
            attachment_id=ATTACHMENT, connection_info=json.dumps(hosts.connection)
        )


@pytest.mark.parametrize("status", ["failed", "cancelled", "error"])
def test_what_was_prepared_in_vain_goes_by_itself(tmp_path, status):
    """This host was away when the other one gave the migration up."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.pre(hosts.checked())
    over(hosts, status)
    hosts.set(task_state=None)

    removal(hosts)

    seen = hosts.look()
    assert (seen["files"], seen["taps"], seen["connected"], seen["beside"]) == ([], 0, [], [])
    assert seen["bound"] == ["host1"]


def test_what_is_prepared_stays_as_long_as_the_migration_is_open(tmp_path):
    """Its memory may take an hour."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.pre(hosts.checked())
    before = hosts.look()

    removal(hosts)

    assert hosts.look() == before


def test_what_is_here_of_a_server_that_has_come_stays(tmp_path):
    """The other host has recorded that by itself; nobody has told this one."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.pre(hosts.checked())
    over(hosts, "completed")
    hosts.set(task_state=None, host="host2", vm_state="stopped")

    removal(hosts)

    assert "server/disk" in hosts.files(hosts.dest)
    assert "server/.arriving" not in hosts.files(hosts.dest)
    assert hosts.look()["taps"] == 1


def test_a_later_migration_replaces_what_an_earlier_one_has_left(hosts):
    """The directory was made by this agent, and is of no use to anybody."""
    hosts.pre(hosts.checked())
    with hosts.conductor.database() as tables:
        tables["Migration"]["8"] = {**tables["Migration"]["7"], "id": 8, "uuid": "later"}
        tables["Migration"]["7"]["status"] = "failed"
    where = hosts.instances(hosts.dest) / hosts.server
    (where / "disk").write_text("old")

    hosts.pre(hosts.checked())

    assert qemu_img.info(where / "disk")["format"] == "qcow2"
    assert json.loads((where / ".arriving").read_text())["migration"] == "later"


def test_a_guest_that_is_on_keeps_its_volume(tmp_path):
    """Whoever asks for it to be disconnected is wrong."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.pre(hosts.checked())
    hosts.arrive()

    with pytest.raises(NovaLiteError, match="keeps its volume"):
        hosts.ask(hosts.dest, "remove_volume_connection", volume_id=VOLUME)

    assert hosts.look()["connected"] == [VOLUME]


# --- NUMA nodes ---------------------------------------------------------------------------------
PLACED = {
    "nova_object.name": "InstanceNUMATopology", "nova_object.namespace": "nova",
    "nova_object.version": "1.3",
    "nova_object.data": {"emulator_threads_policy": None, "cells": [{
        "nova_object.name": "InstanceNUMACell", "nova_object.namespace": "nova",
        "nova_object.version": "1.6",
        "nova_object.data": {
            "id": 1, "cpuset": [], "pcpuset": [0], "cpuset_reserved": None, "memory": 32,
            "pagesize": None, "cpu_pinning_raw": {"0": 7}, "cpu_policy": "dedicated",
            "cpu_thread_policy": None,
        },
    }]},
}  # fmt: skip


class NumaHosts(LiveHosts):
    """host2 has one NUMA node with four CPUs, of which ``taken`` are other servers'."""

    def __init__(self, directory, taken=()):
        super().__init__(directory, numa_topology=PLACED)
        real = self.dest.hypervisor.facts()
        cell = NumaCell(0, 8 * 1024**2, frozenset(range(4)),
                        tuple(frozenset({cpu}) for cpu in range(4)), {4: 2 * 1024**2})  # fmt: skip
        self.facts = replace(real, numa_cells=(cell,))
        self.dest.hypervisor.facts = lambda: self.facts
        self.taken, self.real = taken, self.dest.agent
        self.dest.agent = self.numa_agent

    def numa_agent(self, observer=None, **more):
        made = self.real(observer, **{**self.parts(), **more})
        made.tools.claims.set_host(host_cells(self.facts))
        for cpu in self.taken:
            other = copy.deepcopy(PLACED)
            cell = other["nova_object.data"]["cells"][0]["nova_object.data"]
            cell.update(id=0, cpu_pinning_raw={"0": cpu})
            made.tools.claims.claim(f"other-{cpu}", Sizes(1, 32), other, placed=True)
        return made


def test_a_pinned_server_gets_a_place_on_this_hosts_nodes(tmp_path):
    """The source is told of it; the record keeps it until the guest has come."""
    hosts = NumaHosts(tmp_path, taken=(0, 1))

    data = hosts.check()

    pins = migrate_data.pins(data)
    ((vcpu, cpus),) = pins.cpus.items()
    assert vcpu == 0
    assert cpus <= {2, 3}
    assert len(cpus) == 1
    assert pins.nodes == {0: frozenset({0})}
    context = hosts.row("migration_context")["nova_object.data"]
    assert context["old_numa_topology"]["nova_object.data"] == PLACED["nova_object.data"]
    assert hosts.claims() == ["incoming"]
    hosts.bind(data)
    hosts.pre({"disk": hosts.disk_info(data), "migrate_data": unwrap(data)})
    assert hosts.claims() == ["incoming"]
    hosts.arrive()

    hosts.post()

    (cell,) = hosts.row("numa_topology")["nova_object.data"]["cells"]
    assert set(cell["nova_object.data"]["cpu_pinning_raw"].values()) == cpus
    assert hosts.row("migration_context") is None
    assert hosts.claims() == ["current"]
    spec = hosts.dest.hypervisor.guests[hosts.server].spec
    assert spec.cpu_tune.pins == {0: cpus}


def test_a_pinned_server_without_a_place_is_refused(tmp_path):
    """The conductor tries the next host; nothing is claimed."""
    hosts = NumaHosts(tmp_path, taken=(0, 1, 2, 3))

    text = refused(hosts)

    assert "host host2: Insufficient compute resources" in text
    assert hosts.row("migration_context") is None
    assert hosts.claims() == []


def test_a_place_is_given_back_when_the_check_is_cut_off(tmp_path):
    """Its caller has gone on with another host."""
    first, boundaries = NumaHosts(tmp_path / "first"), []
    first.ask(first.dest, CHECK, boundaries.append, **first.check_arguments())
    for number, boundary in enumerate(name for name in boundaries if "claim_place" in name):
        hosts = NumaHosts(tmp_path / str(number))
        hosts.dest.killed(boundary, CHECK, **hosts.check_arguments())
        agent = hosts.dest.resume()
        assert hosts.row("migration_context") is None, boundary
        assert hosts.claims(agent) == [], boundary


def test_the_loops_leave_a_server_alone_that_is_coming(tmp_path, caplog):
    """Its guest, its interfaces and its files, also in a new process."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.pre(hosts.checked())
    ran = set()
    for guest in (False, True):
        if guest:
            hosts.arrive()
        before = hosts.look()
        agent = hosts.agent(hosts.dest)
        for timer in periodic_tasks(hosts.dest.conf, agent.tools, agent.engine):
            if timer.name in LOOPS:
                timer.tick()
                ran.add(timer.name)
        assert agent.engine.settle(30)
        assert hosts.look() == before
    assert "is left alone" not in caplog.text
    assert ran >= set(LOOPS)
