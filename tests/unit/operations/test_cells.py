"""A server moves to a host in another cell, and back, as nova-conductor calls for it."""

from __future__ import annotations

import json
import subprocess

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.inventory.claims import Role
from tests.unit.operations.caches import cached, mark_bindings
from tests.unit.operations.host import IMAGE
from tests.unit.operations.two_cells import (
    LARGE,
    MIGRATION,
    NEW,
    SMALL,
    SNAPSHOT,
    TwoCells,
    image_of,
)

PREP_DEST = "prep_snapshot_based_resize_at_dest"
PREP_SOURCE = "prep_snapshot_based_resize_at_source"
FINISH = "finish_snapshot_based_resize_at_dest"
CONFIRM = "confirm_snapshot_based_resize_at_source"
REVERT = "revert_snapshot_based_resize_at_dest"
FINISH_REVERT = "finish_revert_snapshot_based_resize_at_source"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def cells(tmp_path):
    """Its record was copied to the new cell."""
    made = TwoCells(tmp_path, volume=True)
    made.copy()
    return made


@pytest.fixture
def left(cells):
    """It has left its old host."""
    cells.prep_dest()
    cells.call("host1", PREP_SOURCE, **cells.ready_source())
    return cells


def is_error(answer, name):
    return getattr(answer, "nova_name", None) == name


# --- the host that is to get it -----------------------------------------------------------------
def test_the_answer_is_the_migration_context(cells):
    """What the flavor needs is claimed, and this host is the target by the records of its cell."""
    answer = cells.prep_dest()

    assert answer["nova_object.name"] == "MigrationContext"
    assert answer["nova_object.data"]["migration_id"] == NEW
    assert cells.last.tools.claims.usage().used.vcpus == 2
    assert cells.last.tools.claims.here() == frozenset()
    migration = cells.migration(cells.dest)["nova_object.data"]
    assert (migration["dest_host"], migration["status"]) == ("127.0.0.2", "pre-migrating")
    row = cells.row(cells.dest)
    assert row["new_flavor"]["nova_object.data"]["id"] == LARGE
    assert cells.state(cells.dest) == ("host1", "active", "resize_prep", SMALL)


def test_a_smaller_disk_is_refused_as_the_conductor_expects_it(tmp_path):
    """By name, with host and reason; nothing is claimed."""
    cells = TwoCells(tmp_path)
    old = cells.row(cells.source)["flavor"]
    old["nova_object.data"]["root_gb"] = 5
    cells.set(cells.source, flavor=old)
    cells.copy()

    refused = cells.prep_dest()

    assert is_error(refused, "MigrationPreCheckError")
    assert "host 'host2'" in str(refused) and "resize disk down" in str(refused)
    assert cells.last.tools.claims.servers() == frozenset()
    assert len(cells.faults(cells.dest)) == 1


def test_storage_that_the_cells_share_is_refused(cells):
    """Its disks would be those of the old host, and be removed with this host's."""
    taken = cells.dest.state / "instances" / cells.server
    taken.mkdir(parents=True)

    refused = cells.prep_dest()

    assert is_error(refused, "MigrationPreCheckError")
    assert "the same storage" in str(refused)
    assert taken.exists()


@pytest.mark.parametrize(
    ("specs", "vcpus", "refused"),
    [({"hw:cpu_policy": "dedicated"}, 2, True), ({"hw:other": "1"}, 2, False)],
)
def test_a_numa_topology_that_nobody_tells_is_refused(tmp_path, specs, vcpus, refused):
    """The call has no request spec."""
    cells = TwoCells(tmp_path, flavor={"extra_specs": specs, "vcpus": vcpus})
    cells.copy()

    answer = cells.prep_dest()

    assert is_error(answer, "MigrationPreCheckError") is refused
    assert ("NUMA" in str(answer)) is refused or not refused


def test_a_prepared_move_whose_caller_has_given_up_claims_nothing(cells):
    """nova-conductor deletes the record then."""
    lost = cells.call("host2", PREP_DEST, late="", **cells.prep())

    assert "given up waiting" in str(lost)
    assert cells.last.tools.claims.servers() == frozenset()


# --- the host that has it -----------------------------------------------------------------------
def test_it_leaves_its_files_and_an_image(cells):
    """The guest is off and stays defined; ports and volume are free for the other host."""
    cells.prep_dest()

    assert cells.call("host1", PREP_SOURCE, **cells.ready_source()) is None

    seen = cells.look()
    assert seen["host1"]["record"] == ("host1", "active", "resize_migrated", SMALL)
    assert seen["host1"]["migration"] == ["post-migrating"]
    assert (seen["host1"]["guest"], seen["host1"]["taps"]) == ("SHUTDOWN", 0)
    assert seen["host1"]["connected"] == 0
    assert "disk" in seen["host1"]["files"]
    assert seen["bindings"] == (["host2"], ["host1"])
    assert seen["cinder"] == [("reserved", None), ("reserved", None)]
    assert image_of(cells)
    assert cells.last.tools.claims.here() == frozenset()  # of a new process; records restore it


def test_one_that_boots_from_a_volume_leaves_no_image(cells):
    """nova-conductor has made none."""
    cells.prep_dest()

    assert cells.call("host1", PREP_SOURCE, **cells.ready_source(image=False)) is None

    assert not image_of(cells)
    assert cells.state(cells.source)[2] == "resize_migrated"


def as_before(cells, guests=("RUNNING",)):
    """The server is on its host, as if nothing had been asked."""
    seen = cells.look()
    assert seen["host1"]["record"] == ("host1", "active", None, SMALL)
    assert seen["host1"]["guest"] in guests
    assert seen["host1"]["taps"] == 1
    assert seen["bindings"][0] == ["host1"]
    assert ("attached", "host1") in seen["cinder"]
    assert seen["host1"]["connected"] == 1
    assert seen["held"] == {"server": {"host1": {"VCPU": 1}}}
    assert seen["host1"]["journal"] == []
    row = cells.row(cells.source)
    return row


def test_what_fails_before_it_has_left_is_taken_back(cells):
    """The server runs again, with its volume and its ports, and a fault; the other host's
    attachment is left alone."""
    cells.prep_dest()
    failing(cells, "host1", "activate")

    refused = cells.call("host1", PREP_SOURCE, **cells.ready_source())

    assert str(refused) == "activate was made to fail"
    row = as_before(cells)
    assert cells.faults(cells.source) == ["activate was made to fail (host host1)"]
    assert cells.migration(cells.source)["nova_object.data"]["status"] == "error"
    assert not (row["old_flavor"] or row["new_flavor"] or row["migration_context"])
    assert cells.cinder() == [("attached", "host1"), ("reserved", None)]


def failing(cells, name, what):
    """Let something of the ports fail on a host, once."""
    host, real = cells.hosts[name], cells.hosts[name].agent

    def agent(observer=None, **replaced):
        made = real(observer, **replaced)
        bindings, done = made.tools.ports.host_bindings, getattr(
            made.tools.ports.host_bindings, what
        )

        def fail(*arguments):
            setattr(bindings, what, done)
            raise HypervisorError(f"{what} was made to fail")

        setattr(bindings, what, fail)
        return made

    host.agent = agent


def test_a_conductor_that_has_given_up_gets_nothing(cells):
    """It clears the task state: the save that lets the server go fails, and it runs again."""
    cells.prep_dest()
    arguments = cells.ready_source()

    def gives_up(boundary):
        if boundary == f"{PREP_SOURCE}:hand_over_ports:end":
            cells.give_up()

    answer = cells.call("host1", PREP_SOURCE, gives_up, **arguments)

    assert is_error(answer, "UnexpectedTaskStateError")
    as_before(cells)


def test_a_server_with_shares_does_not_leave(cells):
    """Nobody has told the other cell of them."""
    flavor = cells.row(cells.source)["flavor"]
    flavor["nova_object.data"]["extra_specs"] = {"hw:mem_page_size": "large"}
    cells.set(cells.source, flavor=flavor)
    with cells.source.conductor.database() as tables:
        tables["ShareMapping"] = {"s": {
            "id": 1, "uuid": MIGRATION, "instance_uuid": cells.server, "share_id": MIGRATION,
            "status": "active", "tag": "t", "export_location": "e", "share_proto": "NFS",
        }}  # fmt: skip
    cells.prep_dest()

    refused = cells.call("host1", PREP_SOURCE, **cells.ready_source())

    assert is_error(refused, "MigrationPreCheckError")
    assert "shares" in str(refused)
    as_before(cells)


def test_a_hard_reboot_helps_when_the_move_was_taken_back_later(left):
    """The new host was never called, or is dead: nova-conductor has deleted its bindings, so that
    the ports are on no host."""
    left.give_up()
    assert left.bindings()[0] == []
    left.set(left.source, task_state="rebooting_hard")

    answer = left.call("host1", "reboot_instance", request="req-2", reboot_type="HARD",
                       block_device_info=None)  # fmt: skip

    assert answer is None
    seen = left.look()
    assert seen["host1"]["record"][1:3] == ("active", None)
    assert (seen["host1"]["guest"], seen["host1"]["taps"]) == ("RUNNING", 1)
    assert seen["bindings"] == (["host1"], [])
    assert seen["cinder"] == [("attached", "host1")]


# --- the host that it comes to ------------------------------------------------------------------
def test_it_runs_in_the_other_cell(left):
    """With the new flavor, its disk, volume and ports; the snapshot is gone."""
    assert left.call("host2", FINISH, **left.ready_dest()) is None

    seen = left.look()
    assert seen["host2"]["record"] == ("host2", "resized", None, LARGE)
    assert (seen["host2"]["guest"], seen["host2"]["taps"]) == ("RUNNING", 1)
    assert seen["host2"]["migration"] == ["finished"]
    assert seen["bindings"] == (["host2"], ["host1"])
    assert seen["cinder"] == [("attached", "host2"), ("reserved", None)]
    assert not image_of(left)
    assert left.last.tools.claims.here() == {left.server}
    assert left.row(left.dest)["image_ref"] == IMAGE
    guest = left.dest.hypervisor.guests[left.server]
    assert {"vda", "vdb"} <= {disk.target for disk in guest.spec.disks}


def test_its_disk_does_not_depend_on_the_snapshot(cells):
    """Which is deleted: it is based on the server's own image again, and has the same data."""
    cells.prep_dest()
    disk = cells.source.state / "instances" / cells.server / "disk"
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 0x61 4096 512", str(disk)],
        check=True, capture_output=True,
    )  # fmt: skip
    cells.call("host1", PREP_SOURCE, **cells.ready_source())

    cells.call("host2", FINISH, **cells.ready_dest())

    there = cells.dest.state / "instances" / cells.server / "disk"
    found = json.loads(subprocess.run(
        ["qemu-img", "info", "--output=json", str(there)], check=True, capture_output=True,
    ).stdout)  # fmt: skip
    raw = there.with_name("raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(there), str(raw)], check=True)
    assert raw.read_bytes()[4096:4608] == b"a" * 512
    assert found["full-backing-filename"] == str(cells.last.tools.images.path(IMAGE))


def test_a_server_that_was_off_stays_off(tmp_path):
    """Its user has stopped it."""
    cells = TwoCells(tmp_path, vm_state="stopped")
    cells.moved()

    assert cells.guest("host2") == "SHUTDOWN"
    assert cells.row(cells.dest)["power_state"] == 4


def nothing_there(cells):
    """What the new host has of it."""
    seen = cells.look()
    assert (seen["host2"]["guest"], seen["host2"]["taps"], seen["host2"]["files"]) == (None, 0, [])
    assert ("attached", "host2") not in seen["cinder"]
    assert (seen["host2"]["connected"], seen["host2"]["journal"]) == (0, [])
    return seen


def test_a_failure_there_leaves_nothing_there(left):
    """Ports go back to the old host; the server is in ERROR, and no more this host's."""
    real = left.dest.hypervisor.start

    def fail(*arguments, **more):
        raise HypervisorError("it does not start")

    left.dest.hypervisor.start = fail

    answer = left.call("host2", FINISH, **left.ready_dest())

    left.dest.hypervisor.start = real
    assert str(answer) == "it does not start"
    seen = nothing_there(left)
    assert seen["bindings"] == (["host1"], ["host2"])
    assert seen["cinder"] == [("reserved", None)]  # the old host's
    assert seen["host2"]["record"][:3] == ("host1", "error", None)
    assert seen["host2"]["migration"] == ["error"]
    assert seen["host2"]["faults"] == ["it does not start (host host2)"]
    assert left.last.tools.claims.servers() == frozenset()
    assert left.disk("host1") is not None


def test_a_snapshot_that_is_gone_is_said(left):
    """Nothing is begun."""
    arguments = left.ready_dest()
    left.source.images.delete(None, SNAPSHOT)

    answer = left.call("host2", FINISH, **arguments)

    assert SNAPSHOT in str(answer)
    nothing_there(left)


@pytest.mark.parametrize("taken_over", [True, False])
def test_an_answer_that_comes_too_late(left, taken_over):
    """Where nova-conductor has given up nothing stays; what it has taken over goes on."""
    arguments = left.ready_dest()
    last = f"{FINISH}:delete_snapshot:end"

    def then(boundary):
        if boundary == last:
            if taken_over:
                left.take_over()
            else:
                left.give_up()

    answer = left.call("host2", FINISH, then, late=last, **arguments)

    if taken_over:
        assert answer is None
        assert (left.guest("host2"), left.state(left.dest)[:2]) == ("RUNNING", ("host2", "resized"))
    else:
        assert "given up waiting" in str(answer)
        nothing_there(left)
        assert left.last.tools.claims.servers() == frozenset()


# --- its user keeps it --------------------------------------------------------------------------
def test_what_was_kept_is_removed(tmp_path):
    """Guest, files, attachment, binding, claim and allocation; the other cell's are left alone."""
    cells = TwoCells(tmp_path, volume=True).moved()

    answer = cells.call("host1", CONFIRM, migration=cells.migration(cells.source))

    assert answer is None
    seen = cells.look()
    assert (seen["host1"]["guest"], seen["host1"]["files"]) == (None, [])
    assert seen["bindings"] == (["host2"], [])
    assert seen["cinder"] == [("attached", "host2")]
    assert seen["held"] == {"server": {"host2": {"VCPU": 2}}}
    assert seen["host1"]["migration"] == ["confirmed"]
    assert cells.guest("host2") == "RUNNING"
    assert cells.last.tools.claims.servers() == frozenset()


@pytest.mark.parametrize(
    "fields", [{"task_state": None}, {"task_state": "resize_reverting"}, {"host": "host3"}]
)
def test_a_server_that_is_back_is_not_forgotten(tmp_path, fields):
    """The message comes late: by now the files here are those of the server."""
    cells = TwoCells(tmp_path, volume=True).moved()
    asked = cells.migration(cells.source)
    cells.set(cells.source, **fields)
    before = cells.look()

    answer = cells.call("host1", CONFIRM, migration=asked)

    assert is_error(answer, "InstanceNotReady")
    assert cells.look() == before


# --- its user wants it back ---------------------------------------------------------------------
@pytest.mark.parametrize("vm_state", ["active", "stopped"])
def test_it_is_back_as_before(tmp_path, vm_state):
    """Nothing stays in the other cell; flavor, disk, port, volume, power and allocation are as
    they were."""
    cells = TwoCells(tmp_path, volume=True, vm_state=vm_state)
    disk = cells.disk("host1")
    cells.moved()

    assert cells.call("host2", REVERT, **cells.to_revert()) is None

    seen = nothing_there(cells)
    assert seen["bindings"] == (["host1"], [])
    assert seen["cinder"] == [("reserved", None)]
    assert cells.last.tools.claims.servers() == frozenset()
    cells.forget(cells.dest)

    assert cells.call("host1", FINISH_REVERT, migration=cells.migration(cells.source)) is None

    seen = cells.look()
    assert seen["host1"]["record"] == ("host1", vm_state, None, SMALL)
    runs = vm_state == "active"
    assert (seen["host1"]["guest"], seen["host1"]["taps"]) == ("RUNNING" if runs else "SHUTDOWN", 1)
    assert cells.disk("host1") == disk
    assert seen["cinder"] == [("attached", "host1")]
    assert seen["held"] == {"server": {"host1": {"VCPU": 1}}}
    assert seen["host1"]["migration"] == ["reverted"]
    row = cells.row(cells.source)
    assert not (row["old_flavor"] or row["new_flavor"] or row["migration_context"])
    assert "old_vm_state" not in row["system_metadata"]
    assert cells.last.tools.claims.topology(cells.server, Role.CURRENT) is None
    assert cells.last.tools.claims.here() == {cells.server}


def test_a_revert_that_is_over_has_no_effect(tmp_path):
    """The message comes late, to either host."""
    cells = TwoCells(tmp_path, volume=True).moved()
    before = cells.look()

    for name, method in (("host2", REVERT), ("host1", FINISH_REVERT)):
        answer = cells.call(name, method, migration=cells.migration(cells.hosts[name]))
        assert is_error(answer, "InstanceNotReady")

    assert cells.look() == before


def test_a_server_that_does_not_start_again_is_in_error(tmp_path, monkeypatch):
    """On its host, with its disk, and its ports known as they are: a hard reboot can help."""
    cells = TwoCells(tmp_path, volume=True).moved()
    cells.call("host2", REVERT, **cells.to_revert())

    def fail(*arguments, **more):
        raise HypervisorError("it does not start")

    cells.source.hypervisor.start = fail
    mark_bindings(monkeypatch)

    answer = cells.call("host1", FINISH_REVERT, migration=cells.migration(cells.source))

    assert str(answer) == "it does not start"
    assert cells.state(cells.source) == ("host1", "error", None, SMALL)
    assert cells.disk("host1") is not None
    assert cells.look()["host1"]["migration"] == ["error"]
    assert cells.faults(cells.source) == ["it does not start (host host1)"]
    assert cached(cells.source.conductor) == [("host1", False)]

