"""A server goes to another host, or gets another flavor on its own: whole, once, or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from nova_lite.conductor.instances import Instances
from nova_lite.drivers.disk import info, qemu_img
from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError, RemoteHostRefused
from nova_lite.inventory.claims import Role
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap
from tests.fakes.killed import Killed, until_killed
from tests.unit.operations.caches import cached, is_remembered, mark_bindings
from tests.unit.operations.callers import callers
from tests.unit.operations.host import IMAGE, MAPPING, RECORDED
from tests.unit.operations.two_hosts import MIGRATION, NEW, NODE, OLD, RETRY, TwoHosts

GIB = 1024**3


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def hosts(tmp_path):
    return TwoHosts(tmp_path)


EVENTS = [
    (f"compute_{method}", phase)
    for method in ("finish_resize", "prep_resize", "resize_instance")
    for phase in ("finish", "start")
]


def at(directory):
    """The files of the server, with its config drive."""
    return [f"{directory}/{name}" for name in ("disk", "disk.config", "disk.info")]


# --- it comes -----------------------------------------------------------------------------------
def test_a_server_comes_to_another_host(tmp_path):
    """It runs there with its new flavor, disk and port; what it had is kept where it was."""
    hosts = TwoHosts(tmp_path, volume=True, flavor={"root_gb": 2})

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    assert hosts.flavor_ids() == (NEW, OLD, NEW)
    assert (hosts.row("vcpus"), hosts.row("root_gb"), hosts.row("instance_type_id")) == (2, 2, NEW)
    assert hosts.row("system_metadata")["old_vm_state"] == "active"
    migration = hosts.migration()
    wanted = {"status": "finished", "dest_compute": "host2", "dest_node": NODE,
              "dest_host": "127.0.0.2", "dest_compute_id": 1}  # fmt: skip
    assert {name: migration[name] for name in wanted} == wanted
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == ("SHUTDOWN", "RUNNING")
    assert hosts.dest.hypervisor.guests[hosts.server].spec.vcpus == 2
    assert (len(hosts.source.vifs.ports), len(hosts.dest.vifs.ports)) == (0, 1)
    assert set(hosts.ledger.read()["bound"].values()) == {"host2"}
    assert hosts.cinder() == [("attached", "host2")]
    assert hosts.files(hosts.source) == at("server_resize")
    assert hosts.files(hosts.dest) == at("server")
    disk = hosts.instances(hosts.dest) / hosts.server / "disk"
    assert qemu_img.info(disk)["virtual-size"] == 2 * GIB
    assert hosts.ended() == EVENTS
    assert hosts.faults() == []
    claims = hosts.agents["host2"].tools.claims
    assert claims.here() == {hosts.server}
    assert claims.usage().used.vcpus == 2


@pytest.mark.parametrize(
    ("address", "told"), [("192.0.2.7", "192.0.2.7"), ("%s.move.example", f"{NODE}.move.example")]
)
def test_disks_are_sent_where_the_new_host_wants_them(tmp_path, address, told):
    """To [libvirt]migration_inbound_addr, which stock writes into the migration's record."""
    hosts = TwoHosts(tmp_path)
    hosts.dest.conf.set_override("migration_inbound_addr", address, "libvirt")

    hosts.run(hosts.dest, "prep_resize", **hosts.prep())

    assert hosts.migration()["dest_host"] == told


def test_what_is_told_of_the_disks_is_what_stock_reads(hosts):
    """The other host may be a stock one."""
    hosts.move(until="finish_resize")

    told = json.loads(hosts.asked("finish_resize")[2]["disk_info"])

    disk, drive = told
    where = hosts.instances(hosts.source)
    assert disk["path"] == str(where / hosts.server / "disk")
    assert (disk["type"], disk["virt_disk_size"]) == ("qcow2", GIB)
    base = next((where / "_base").iterdir()).name
    assert disk["backing_file"] == base
    assert disk["over_committed_disk_size"] == GIB - disk["disk_size"]
    assert (drive["type"], drive["backing_file"]) == ("raw", "")


def test_a_volume_leaves_with_what_stock_asks_of_its_mapping(tmp_path):
    """Without any connection_info it would take the volume for one that was never connected."""
    hosts = TwoHosts(tmp_path, volume=True)

    hosts.move(until="finish_resize")

    assert [status for status, _ in hosts.cinder()] == ["reserved"]
    tables = hosts.dest.conductor.read()["BlockDeviceMapping"].values()
    assert all(row["connection_info"] for row in tables if row["volume_id"])


def test_a_server_gets_another_flavor_on_its_host(tmp_path):
    """What it had is kept beside; both shares of the host are claimed."""
    hosts = TwoHosts(tmp_path, same=True, volume=True, flavor={"root_gb": 2, "swap": 16})

    hosts.move()

    assert hosts.state() == ("host1", "resized", None)
    assert hosts.flavor_ids() == (NEW, OLD, NEW)
    assert hosts.guest(hosts.source) == "RUNNING"
    assert hosts.files(hosts.source) == [
        *at("server"), "server/disk.swap", *at("server_resize")
    ]  # fmt: skip
    new, old = (
        qemu_img.info(hosts.instances(hosts.source) / name / "disk")["virtual-size"]
        for name in (hosts.server, f"{hosts.server}_resize")
    )
    assert (new, old) == (2 * GIB, GIB)
    assert hosts.cinder() == [("attached", "host1")]
    assert hosts.remote.sent == []


@pytest.mark.parametrize("same", [False, True])
def test_a_server_that_was_off_stays_off(tmp_path, same):
    """Its record says for later what it was."""
    hosts = TwoHosts(tmp_path, same=same, vm_state="stopped", power_state=4)
    hosts.source.hypervisor.destroy(hosts.server)

    hosts.move()

    assert hosts.state()[1:] == ("resized", None)
    assert (hosts.guest(hosts.dest), hosts.row("power_state")) == ("SHUTDOWN", 4)
    assert hosts.row("system_metadata")["old_vm_state"] == "stopped"


def test_the_clock_of_a_guest_that_ran_is_set(hosts):
    """It has stood still for as long as the disks took."""
    hosts.move()

    assert ("sync_time", hosts.server) in hosts.dest.hypervisor.calls


def test_disks_grow_and_are_made_by_the_flavor(tmp_path):
    """Swap does not travel; an ephemeral disk grows; one that is new is made."""
    hosts = TwoHosts(
        tmp_path, old={"swap": 8}, flavor={"swap": 16, "ephemeral_gb": 1, "root_gb": 1}
    )

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    assert "disk.swap" not in hosts.remote.sent
    where = hosts.instances(hosts.dest) / hosts.server
    sizes = {name: qemu_img.info(where / name)["virtual-size"]
             for name in ("disk", "disk.swap", "disk.local")}  # fmt: skip
    assert sizes == {"disk": GIB, "disk.swap": 16 * 1024**2, "disk.local": GIB}


def test_a_server_whose_host_lost_its_power_waits_on(hosts):
    """The agent starts it again, and its user can still confirm or revert."""
    hosts.move()
    hosts.dest.hypervisor.destroy(hosts.server)
    hosts.conductor.set(hosts.server, task_state="rebooting_hard")

    hosts.run(hosts.dest, "reboot_instance", reboot_type="HARD", block_device_info=None)

    assert hosts.state() == ("host2", "resized", None)
    assert hosts.dest.hypervisor.guests[hosts.server].state.name == "RUNNING"


def test_an_ephemeral_disk_has_the_size_of_its_mapping(tmp_path):
    """As in stock it does not grow with the flavor; so one that is as small as the disk is fine."""
    hosts = TwoHosts(tmp_path, old={"ephemeral_gb": 2}, flavor={"ephemeral_gb": 1})
    with hosts.source.conductor.database() as tables:
        tables["BlockDeviceMapping"]["3"] = {
            **MAPPING, "id": 3, "uuid": MIGRATION, "instance_uuid": hosts.server, "volume_id": None,
            "source_type": "blank", "destination_type": "local", "volume_size": 1,
            "device_name": "/dev/vdb", "boot_index": -1, "guest_format": None,
        }  # fmt: skip
    disk = hosts.instances(hosts.source) / hosts.server / "disk.eph0"
    qemu_img.create(disk, GIB)
    info.record(disk, "qcow2")

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    moved = hosts.instances(hosts.dest) / hosts.server / "disk.eph0"
    assert qemu_img.info(moved)["virtual-size"] == GIB


def test_a_host_that_shares_the_files_is_sent_none(tmp_path):
    """They are copied beside what is kept."""
    hosts = TwoHosts(tmp_path)
    hosts.dest.conf.set_override("instances_path", str(hosts.instances(hosts.source)))
    hosts.remote.there = hosts.remote.here

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    assert hosts.remote.sent == []
    assert hosts.files(hosts.source) == [*at("server"), *at("server_resize")]


def test_an_image_that_is_gone_goes_along(hosts):
    """The other host could not fetch what the disk is based on."""
    hosts.source.images.delete(None, IMAGE)

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    base = next((hosts.instances(hosts.source) / "_base").iterdir()).name
    assert hosts.remote.sent[0] == base
    assert (hosts.instances(hosts.dest) / "_base" / base).exists()


@pytest.mark.parametrize("name", ["ephemeral_1_0706d66", "the image"])
def test_what_stock_leaves_behind_is_copied(tmp_path, name):
    """It sends overlays without what they are based on: an image that is gone, or a file system."""
    hosts = TwoHosts(tmp_path)
    hosts.move(until="finish_resize")
    disk = hosts.instances(hosts.dest) / hosts.server / "disk"
    old = hosts.instances(hosts.source) / "_base"
    base = hosts.instances(hosts.dest) / "_base" / name
    if name == "the image":
        base = base.with_name(next(old.iterdir()).name)
        hosts.source.images.delete(None, IMAGE)
        base.unlink(missing_ok=True)
    else:
        shutil.copy(next(old.iterdir()), old / name)
    run = ["qemu-img", "rebase", "-u", "-F", "raw", "-b", str(base), str(disk)]
    subprocess.run(run, check=True)

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "resized", None)
    assert base.read_bytes() == (old / base.name).read_bytes()


def test_a_raw_disk_becomes_what_the_host_has(tmp_path):
    """Stock would take it for a qcow2 file there, whatever its guest has written to it."""
    hosts = TwoHosts(tmp_path, conf=[("host1", {"use_cow_images": False})], flavor={"root_gb": 2})
    hosts.source.conf.set_override("use_cow_images", False)

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    where = hosts.instances(hosts.dest) / hosts.server
    assert json.loads((where / "disk.info").read_text())[str(where / "disk")] == "qcow2"
    found = qemu_img.info(where / "disk")
    assert (found["format"], found["virtual-size"]) == ("qcow2", 2 * GIB)
    (kept,) = (hosts.instances(hosts.source) / f"{hosts.server}_resize").glob("disk")
    assert qemu_img.info(kept)["format"] == "raw"


# --- whatever happens ---------------------------------------------------------------------------
def ended(hosts):
    """How all ends when each message between the hosts comes twice."""
    for method in ("resize_instance", "finish_resize"):
        messages = [message for message in hosts.peers.sent if message[1] == method]
        for message in (*messages, messages[0]):
            hosts.deliver(message)
    return hosts.look()


@pytest.mark.parametrize(
    ("method", "same"),
    [
        ("prep_resize", False), ("resize_instance", False), ("finish_resize", False),
        ("resize_instance", True), ("finish_resize", True),
    ],
)  # fmt: skip
def test_it_ends_the_same_wherever_an_agent_is_killed(tmp_path, method, same):
    """Whatever was sent, once or twice."""

    def begun(directory):
        hosts = TwoHosts(directory, same=same, volume=True, flavor={"root_gb": 2, "swap": 16})
        if method != "prep_resize":
            hosts.move(until=method)
        return hosts

    first = begun(tmp_path / "first")
    host, arguments = sent_again(first, method)
    boundaries = []
    first.run(host, method, boundaries.append, **arguments)
    wanted = ended(first)
    assert wanted["state"][1:] == ("resized", None)
    if same:  # what differs there is what steps have done
        boundaries = [boundary for boundary in boundaries if boundary.endswith(":end")]
    for number, boundary in enumerate(boundaries):
        hosts = begun(tmp_path / str(number))
        host, arguments = sent_again(hosts, method)
        real = host.agent
        host.agent = lambda observer=None, real=real, hosts=hosts, **more: real(
            observer, **{**hosts.parts(), **more}
        )
        host.killed(boundary, method, **arguments)
        host.resume()
        host.agent = real
        assert ended(hosts) == wanted, boundary


def sent_again(hosts, method):
    """The arguments of a message between the hosts, for another process."""
    if method == "prep_resize":
        return hosts.dest, hosts.prep()
    name, _, arguments = hosts.asked(method)
    kept = {key: unwrap(value) for key, value in arguments.items() if key != "instance"}
    return hosts.host(name), kept


@pytest.mark.parametrize("method", ["prep_resize", "resize_instance", "finish_resize"])
def test_it_ends_the_same_wherever_the_power_fails(tmp_path, method):
    """Of the host that is at work: its guests and taps are gone, any step may be half done."""

    def begun(directory):
        hosts = TwoHosts(directory, volume=True, flavor={"root_gb": 2})
        if method != "prep_resize":
            hosts.move(until=method)
        return hosts

    first, boundaries = begun(tmp_path / "first"), []
    host, arguments = sent_again(first, method)
    first.run(host, method, boundaries.append, **arguments)
    wanted = ended(first)
    steps = [boundary for boundary in boundaries if boundary.endswith(":end")]
    for number, boundary in enumerate(steps):
        hosts = begun(tmp_path / str(number))
        host, arguments = sent_again(hosts, method)
        real = host.agent
        host.agent = lambda observer=None, real=real, hosts=hosts, **more: real(
            observer, **{**hosts.parts(), **more}
        )
        host.power_fails(boundary, method, **arguments)
        host.resume()
        host.agent = real
        seen = ended(hosts)
        for name in ("state", "flavors", "migration", "allocations", "bound", "cinder"):
            assert seen[name] == wanted[name], (boundary, name)
        for name in ("host1", "host2"):
            assert seen[name]["files"] == wanted[name]["files"], boundary
            assert seen[name]["journal"] == [], boundary
        assert seen["host1"]["guest"] == "SHUTDOWN", boundary


# --- the network cache --------------------------------------------------------------------------
def test_the_network_cache_is_saved_with_the_record(hosts, monkeypatch):
    """At the end, with the ports wired up: the event about that has nothing to add."""
    mark_bindings(monkeypatch)
    with callers(hosts.conductor) as asked:
        hosts.move()

    assert cached(hosts.conductor) == [("host2", True)]
    assert is_remembered(hosts.agents["host2"])
    assert [call for call in asked if "InfoCache" in call] == []


@pytest.mark.parametrize("method", ["start", "define"])
def test_it_is_saved_also_where_the_server_does_not_start(hosts, monkeypatch, method):
    """Its ports are this host's, and the cache says so."""
    mark_bindings(monkeypatch)
    hosts.move(until="finish_resize")
    hosts.dest.hypervisor.fail(method, HypervisorError("no memory"))

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "error", None)
    assert cached(hosts.conductor) == [("host2", False)]


def test_a_port_that_is_not_wired_up_is_not_called_so(hosts, monkeypatch):
    """The guest goes on without."""
    mark_bindings(monkeypatch)
    hosts.move(until="finish_resize")
    hosts.dest.conf.set_override("vif_plugging_timeout", 1)
    with hosts.ledger.open() as content:
        content["ports_stay_down"] = True

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "resized", None)
    assert cached(hosts.conductor) == [("host2", False)]


# --- it does not come ---------------------------------------------------------------------------
def as_before(hosts, fault, *, vm_state="active", runs=True):
    """The server is where it was, on or off, with a fault; nothing of the move is left."""
    assert hosts.state() == ("host1", vm_state, None)
    assert (hosts.guest(hosts.source) == "RUNNING") is runs
    assert hosts.migration()["status"] == "error"
    assert hosts.row("migration_context") is None
    assert hosts.flavor_ids() == (OLD, None, None)
    assert hosts.ledger.read()["allocations"] == {hosts.server: {"host1": {"VCPU": 1}}}
    assert hosts.files(hosts.source) == at("server")
    if hosts.dest is not hosts.source:
        assert hosts.files(hosts.dest) == []
        assert hosts.guest(hosts.dest) is None
    assert len(hosts.source.vifs.ports) == 1
    (said,) = set(hosts.faults())  # who is killed while he tells it tells it again
    assert fault in said
    assert hosts.look()["host1"]["journal"] == hosts.look()["host2"]["journal"] == []


@pytest.mark.parametrize(
    ("old", "flavor", "what"),
    [
        ({"root_gb": 2}, {"root_gb": 1}, "root disk has 2 GiB"),
        ({"ephemeral_gb": 1}, {"ephemeral_gb": 0}, "ephemeral disks have 1 GiB"),
    ],
)
def test_disks_do_not_shrink(tmp_path, old, flavor, what):
    """Refused before anybody is asked for anything; no other host could do it."""
    hosts = TwoHosts(tmp_path, old=old, flavor=flavor)

    hosts.run(hosts.dest, "prep_resize", **hosts.prep(hosts=[{"service_host": "host3"}]))

    assert hosts.state() == ("host1", "active", None)
    (fault,) = hosts.faults()
    assert fault.startswith("Resize error: Unable to resize disk down.")
    assert what in fault
    assert hosts.peers.sent == []
    assert hosts.migration()["status"] == "error"


def test_a_server_is_not_moved_to_its_own_host(tmp_path):
    """With the flavor that it has: there is nothing to do."""
    hosts = TwoHosts(tmp_path, same=True, flavor={"id": OLD})

    hosts.run(hosts.dest, "prep_resize", **hosts.prep(properties={}))

    as_before(hosts, "Unable to migrate instance")


@pytest.mark.parametrize("method", ["make_directory", "send"])
@pytest.mark.parametrize("runs", [True, False])
def test_a_host_that_lets_nobody_in_gets_nothing(tmp_path, method, runs):
    """The server is as before, on or off, and the fault says which host refused what."""
    fields = {} if runs else {"vm_state": "stopped", "power_state": 4}
    hosts = TwoHosts(tmp_path, volume=True, **fields)
    if not runs:
        hosts.source.hypervisor.destroy(hosts.server)
    hosts.remote.fail[method] = RemoteHostRefused("Host host1 cannot write to host host2: no key")

    hosts.move(until="finish_resize")

    as_before(hosts, "host2", vm_state="active" if runs else "stopped", runs=runs)
    assert hosts.cinder() == [("attached", "host1")]
    assert [message[1] for message in hosts.peers.sent] == [
        "resize_instance", "drop_move_claim_at_destination",
    ]  # fmt: skip


def test_that_is_so_wherever_the_agent_is_killed_meanwhile(tmp_path):
    """What was powered off is on again, what was renamed is back."""

    def refused(directory):
        hosts = TwoHosts(directory, volume=True)
        hosts.remote.fail["send"] = RemoteHostRefused("no key on host2")
        hosts.move(until="resize_instance")
        return hosts

    first, boundaries = refused(tmp_path / "first"), []
    name, method, arguments = first.asked("resize_instance")
    def plain(found):
        return {key: unwrap(value) for key, value in found.items() if key != "instance"}

    first.run(first.source, method, boundaries.append, **plain(arguments))
    as_before(first, "no key")
    for number, boundary in enumerate(boundaries):
        hosts = refused(tmp_path / str(number))
        arguments = hosts.asked("resize_instance")[2]
        real = hosts.source.agent
        hosts.source.agent = lambda observer=None, real=real, hosts=hosts, **more: real(
            observer, **{**hosts.parts(), **more}
        )
        hosts.source.killed(boundary, method, **plain(arguments))
        hosts.source.resume()
        hosts.source.agent = real
        hosts.deliver(hosts.asked("resize_instance"))
        as_before(hosts, "no key")
        assert hosts.cinder() == [("attached", "host1")], boundary


def test_a_message_that_comes_when_all_is_over_has_no_effect(hosts):
    """It waited at the broker; the server has been confirmed meanwhile."""
    hosts.move()
    hosts.set(vm_state="active", migration_context=None, old_flavor=None, new_flavor=None)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "confirmed"
    before = hosts.look()

    for method in ("resize_instance", "finish_resize"):
        name, _, arguments = hosts.asked(method)
        host = hosts.host(name)
        agent = host.agent(**hosts.parts())
        kept = {key: unwrap(value) for key, value in arguments.items() if key != "instance"}
        host.send(agent, method, request=f"req-late-{method}", **kept)
        assert agent.engine.settle(60)

    assert {**hosts.look(), "ended": []} == {**before, "ended": []}


def test_a_second_request_for_what_has_left_has_no_effect(hosts):
    """Its disks are not here any more, which is no reason to end the move."""
    hosts.move(until="finish_resize")
    before = hosts.look()
    _, method, arguments = hosts.asked("resize_instance")
    agent = hosts.source.agent(**hosts.parts())
    row = Instances(hosts.conductor).get(RequestContext.admin(), hosts.server)
    # As it was when it was sent.
    row.data.update(host="host1", node=NODE, task_state="resize_prep")

    agent.engine.begin(
        method, RequestContext({"request_id": "req-again"}), hosts.server,
        {**arguments, "instance": row},
    )  # fmt: skip
    assert agent.engine.settle(60)

    assert {**hosts.look(), "ended": []} == {**before, "ended": []}
    assert hosts.state() == ("host2", "active", "resize_migrated")


@pytest.mark.parametrize("method", ["prep_resize", "resize_instance"])
def test_a_task_state_that_was_reset_ends_the_move(hosts, method):
    """By an administrator, or by the start of the host: nothing is held for it any more."""
    if method == "prep_resize":
        order, asked = (hosts.dest, method), hosts.prep()
        hosts.set(task_state=None)
        hosts.run(*order, **asked)
    else:
        hosts.move(until=method)
        hosts.set(task_state=None)
        hosts.deliver(hosts.asked(method))

    assert hosts.state() == ("host1", "active", None)
    assert hosts.migration()["status"] == "error"
    assert hosts.ledger.read()["allocations"] == {hosts.server: {"host1": {"VCPU": 1}}}
    assert hosts.guest(hosts.source) == "RUNNING"


def test_a_server_that_cannot_start_there_is_in_error(hosts):
    """On the host that has its disks, with its old flavor; the migration holds nothing more."""
    hosts.move(until="finish_resize")
    hosts.dest.hypervisor.fail("start", HypervisorError("no memory"))

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "error", None)
    assert hosts.flavor_ids()[0] == OLD
    assert hosts.migration()["status"] == "error"
    assert hosts.ledger.read()["allocations"] == {hosts.server: {"host2": {"VCPU": 2}}}
    assert hosts.files(hosts.source) == at("server_resize")
    assert hosts.faults() == ["no memory (host host2)"]


def test_a_root_disk_that_has_not_come_is_not_made_anew(hosts):
    """Its data are on the other host."""
    hosts.move(until="finish_resize")
    (hosts.instances(hosts.dest) / hosts.server / "disk").unlink()

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "error", None)
    assert "has not come to host host2" in hosts.faults()[0]
    assert not (hosts.instances(hosts.dest) / hosts.server / "disk").exists()


def test_a_server_that_is_deleted_meanwhile_holds_nothing_for_its_migration(hosts):
    """Its delete gives the rest back."""
    hosts.move(until="resize_instance")
    hosts.set(task_state="deleting")

    hosts.deliver(hosts.asked("resize_instance"))

    assert hosts.state() == ("host1", "active", "deleting")
    assert MIGRATION not in hosts.ledger.read()["allocations"]
    assert hosts.faults() == []


def test_what_is_kept_for_a_way_back_counts_as_used(hosts):
    """Until the move is confirmed."""
    hosts.move(until="resize_instance")
    agent = hosts.deliver(hosts.asked("resize_instance"))

    assert agent.tools.claims.topology(hosts.server, Role.OUTGOING) is None
    assert agent.tools.claims.here() == frozenset()


# --- the next host ------------------------------------------------------------------------------
HOSTS = [{"service_host": "host3"}]


def lacking(hosts):
    """A flavor that host2 cannot have, but perhaps another one."""
    hosts.flavor["nova_object.data"]["extra_specs"] = {"hw:tpm_version": "2.0"}
    return hosts.prep(hosts=HOSTS)


def test_the_next_host_is_tried(hosts):
    """As nova-compute hands a move over: with the hosts that are left, the migration still open."""
    hosts.run(hosts.dest, "prep_resize", **lacking(hosts))

    (cast,) = hosts.conductor.read()["casts"]
    asked = cast["arguments"]
    assert (cast["method"], asked["live"], asked["rebuild"]) == ("migrate_server", False, False)
    (recorded, *_) = json.loads((RECORDED.parent / "migrate_server.json").read_text())
    assert asked.keys() == recorded["request"]["args"].keys()
    assert asked["host_list"] == HOSTS
    retry = asked["scheduler_hint"]["filter_properties"]["retry"]
    assert retry["hosts"] == RETRY["retry"]["hosts"]
    assert "TPM" in retry["exc"][0]
    assert hosts.state() == ("host1", "active", "resize_prep")
    assert hosts.migration()["status"] == "pre-migrating"
    assert hosts.ledger.read()["allocations"] == {hosts.server: {"host1": {"VCPU": 1}}}
    assert hosts.agents["host2"].tools.claims.servers() == frozenset()
    # Once: the next host has an event of the same name.
    events = [phase for _, event, phase, _ in hosts.conductor.read()["events"]]
    assert events == ["start", "finish"]


def test_it_is_handed_over_once(hosts):
    """An agent that is killed after the cast does not know whether it was sent; the conductor has
    given the allocation to the migration again, which must stay so."""
    asked, cast = lacking(hosts), hosts.conductor.task_cast

    def killed(*arguments, **more):
        cast(*arguments, **more)
        raise Killed

    hosts.conductor.task_cast = killed
    agent = hosts.dest.agent(**hosts.parts())
    with until_killed():
        hosts.dest.send(agent, "prep_resize", **asked)
    hosts.conductor.task_cast = cast
    with hosts.ledger.open() as content:
        allocations = content["allocations"]
        allocations[MIGRATION] = allocations.pop(hosts.server)
        allocations[hosts.server] = {"host3": {"VCPU": 1}}

    hosts.dest.resume(**hosts.parts())

    assert [cast["method"] for cast in hosts.conductor.read()["casts"]] == ["migrate_server"]
    assert hosts.migration()["status"] == "pre-migrating"
    assert hosts.ledger.read()["allocations"] == {
        MIGRATION: {"host1": {"VCPU": 1}}, hosts.server: {"host3": {"VCPU": 1}},
    }  # fmt: skip


@pytest.mark.parametrize("properties", [{}, None])
def test_a_host_that_was_named_has_no_next_one(hosts, properties):
    """Without a retry in the request nobody else is asked."""
    hosts.run(
        hosts.dest, "prep_resize", **{**lacking(hosts), "filter_properties": properties}
    )

    as_before(hosts, "TPM")


# --- TPM ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("specs", "came"), [({"hw:tpm_version": "2.0"}, True), ({"hw:tpm_version": "1.2"}, False)]
)
def test_the_state_of_a_tpm_comes_along(tmp_path, monkeypatch, specs, came):
    """Unless the new flavor wants another TPM; the old host keeps it in any case."""
    monkeypatch.setattr(
        "nova_lite.guest.devices.tpm", lambda properties, *, swtpm: None
    )  # what a TPM is otherwise is no part of this
    monkeypatch.setattr("nova_lite.guest.checks.tpm", lambda properties, *, swtpm: None)
    hosts = TwoHosts(
        tmp_path, old={"extra_specs": {"hw:tpm_version": "2.0"}}, flavor={"extra_specs": specs}
    )
    hosts.source.hypervisor.tpm_states[hosts.server] = b"secrets"

    hosts.move()

    assert hosts.state() == ("host2", "resized", None)
    assert hosts.dest.hypervisor.tpm_states == ({hosts.server: b"secrets"} if came else {})
    kept = f"server_resize/swtpm/{hosts.server}/tpm2-00.permall".replace(hosts.server, "server")
    assert kept in hosts.files(hosts.source)
    assert not [name for name in hosts.files(hosts.dest) if "swtpm" in name]


def test_what_a_firmware_remembers_comes_along(hosts):
    """Such as what to boot from; the old host keeps it, too."""
    hosts.source.hypervisor.nvrams[hosts.server] = b"boot order"

    hosts.move()

    assert hosts.dest.hypervisor.nvrams == {hosts.server: b"boot order"}
    assert "server_resize/nvram.fd" in hosts.files(hosts.source)
    assert hosts.files(hosts.dest) == at("server")


def test_a_way_back_leads_to_the_same_cpus(hosts):
    """nova-api sends the server without its place on NUMA nodes."""
    place = {"nova_object.name": "InstanceNUMATopology", "nova_object.namespace": "nova",
             "nova_object.version": "1.3", "nova_object.data": {"cells": []}}  # fmt: skip
    hosts.set(numa_topology=place)

    hosts.run(hosts.dest, "prep_resize", without=["numa_topology"], **hosts.prep())

    context = hosts.row("migration_context")["nova_object.data"]
    assert context["old_numa_topology"]["nova_object.data"] == {"cells": []}


def test_how_far_the_disks_are_is_in_the_record(hosts, monkeypatch):
    """In percent, for those who look at the server; at the end it is nought again."""
    monkeypatch.setattr("nova_lite.steps.move.send.TELL_S", -1.0)
    saved, real = [], hosts.conductor.object_call

    def call(context, obj, method, **more):
        if obj.name == "Instance" and "progress" in obj.changes:
            saved.append(obj.data["progress"])
        return real(context, obj, method, **more)

    monkeypatch.setattr(hosts.conductor, "object_call", call)

    hosts.move()

    assert saved[0] > 0
    assert saved == [*sorted(saved[:-1]), 0]
    assert hosts.row("progress") == 0
