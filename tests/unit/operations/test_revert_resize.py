"""A resized server goes back: its new host gives it away, and its old one starts it again."""

from __future__ import annotations

import datetime
import shutil

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError, PeerUnavailable
from nova_lite.inventory.claims import Role
from tests.unit.operations.caches import cached, is_remembered, mark_bindings
from tests.unit.operations.callers import callers
from tests.unit.operations.host import MAPPING
from tests.unit.operations.resized import LARGE, MIGRATION, SMALL, Resized

REVERT, FINISH = "revert_resize", "finish_revert_resize"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def given(directory, **more):
    """A server that has come to host1, and is to go back to host2."""
    wanted = {"source": "host2", "dest": "host1", "status": "reverting",
              "task_state": "resize_reverting", **more}  # fmt: skip
    return Resized(directory, **wanted)


def returning(directory, **more):
    """A server that host2 has given back to host1."""
    volume = more.pop("volume", False)
    wanted = {"status": "reverted", "task_state": "resize_reverting", **more}
    made = Resized(directory, **wanted)
    if volume:
        made._attach(None)
    return made


# --- the host that gives it back ----------------------------------------------------------------
def test_nothing_of_it_stays(tmp_path):
    """Then the other host is asked to start it."""
    host = given(tmp_path, volume=True)

    agent = host.ask(REVERT)

    assert (host.hypervisor.guests, host.vifs.ports, host.disks()) == ({}, {}, {})
    assert host.cinder() == [("reserved", None)]
    assert host.row() == ("host1", "resized", "resize_reverting", LARGE)
    assert host.migration()["status"] == "reverted"
    assert agent.tools.claims.servers() == frozenset()
    (asked, sent) = host.peers.sent
    assert asked[:2] == ("host2", "check_instance_shared_storage")
    assert sent[:2] == ("host2", "finish_revert_resize")
    assert sent[2]["instance"]["old_flavor"]["id"] == SMALL
    assert sent[2]["migration"]["uuid"] == MIGRATION
    assert host.held().keys() == {host.server, MIGRATION}  # the other host's part
    mapping = host.conductor.read()["BlockDeviceMapping"]["2"]
    assert mapping["connection_info"]  # without one, stock would not connect the volume


def test_shared_files_stay(tmp_path):
    """What the other host keeps is beside them; it removes what it does not need."""
    host = given(tmp_path)
    host.peers.answers["host2"]["check_instance_shared_storage"] = True

    host.ask(REVERT)

    assert host.disks() == {"uuid": "new"}
    assert host.hypervisor.guests == {}
    assert host.migration()["status"] == "reverted"


def test_on_one_host_the_files_stay_until_the_old_ones_are_back(tmp_path):
    """Nobody is asked about them."""
    host = given(tmp_path, source="host1")

    agent = host.ask(REVERT)

    assert host.disks() == {"uuid": "new", "uuid_resize": "old"}
    assert (host.hypervisor.guests, host.vifs.ports) == ({}, {})
    assert [sent[:2] for sent in host.peers.sent] == [("host1", "finish_revert_resize")]
    assert agent.tools.claims.usage().used.vcpus == 1  # what it goes back to


def test_a_host_that_does_not_answer_gets_nothing(tmp_path):
    """The server goes on here, and can be reverted again."""
    host = given(tmp_path)
    host.peers.answers["host2"]["check_instance_shared_storage"] = PeerUnavailable("no answer")

    host.ask(REVERT)

    assert host.row() == ("host1", "resized", None, LARGE)
    assert host.migration()["status"] == "finished"
    assert host.hypervisor.guests[host.server].state.name == "RUNNING"
    assert host.disks() == {"uuid": "new"}
    assert "host host2" in host.faults()[0]


def test_a_failure_in_the_middle_is_an_error(tmp_path):
    """Nobody can tell whether the guest can go on here."""
    host = given(tmp_path)
    failing(host, "undefine")

    host.ask(REVERT)

    assert host.row() == ("host1", "error", None, LARGE)
    assert host.migration()["status"] == "error"
    assert host.faults() == ["undefine was made to fail (host host1)"]


@pytest.mark.parametrize("fields", [{"task_state": None}, {"host": "host2"}])
def test_a_revert_that_is_over_has_no_effect(tmp_path, fields):
    """The message comes late."""
    host = given(tmp_path)
    host.set(**fields)
    before = host.look()

    host.ask(REVERT)

    after = host.look()
    assert {**after, "ended": 0} == {**before, "ended": 0}


@pytest.mark.parametrize(("age", "over"), [(0, False), (60, True)])
def test_a_message_that_is_late_is_not_believed(tmp_path, age, over):
    """What its sender has recorded of the migration may be past; else it is as good as read."""
    host = given(tmp_path)
    asked = host.arguments()
    host.end(status="error")
    sent = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)

    host.run(REVERT, context={"timestamp": sent.isoformat()}, **asked)

    assert (host.server in host.hypervisor.guests) is over
    assert host.migration()["status"] == ("error" if over else "reverted")


@pytest.mark.parametrize("method", [REVERT, FINISH])
def test_a_message_about_another_migration_is_not_believed(tmp_path, method):
    """The server is on its way back in a later one."""
    host = given(tmp_path) if method == REVERT else returning(tmp_path)
    asked = host.arguments()
    context = host.conductor.instance(host.server)["migration_context"]
    context["nova_object.data"]["migration_id"] = 8
    host.set(migration_context=context)
    host.end(status="confirmed")
    before = host.look()

    host.run(method, **asked)

    assert {**host.look(), "ended": 0} == {**before, "ended": 0}


def test_a_server_on_numa_nodes_goes_back_to_its_place(tmp_path):
    """The host that gives it away records that, for stock nova-compute relies on it."""
    host = given(tmp_path)
    old, new = ({"nova_object.name": "InstanceNUMATopology", "nova_object.namespace": "nova",
                 "nova_object.version": "1.3", "nova_object.data": {"cells": [], "id": number}}
                for number in (1, 2))  # fmt: skip
    context = host.conductor.instance(host.server)["migration_context"]
    context["nova_object.data"].update(old_numa_topology=old, new_numa_topology=new)
    host.set(migration_context=context, numa_topology=new)

    host.ask(REVERT)

    assert host.conductor.instance(host.server)["numa_topology"] == old
    sent = host.peers.sent[-1][2]["instance"]
    assert sent["numa_topology"]["id"] == 1


def test_a_server_that_is_deleted_meanwhile_leaves_no_allocation(tmp_path):
    """The migration's is not nova-api's to delete: it does not confirm what is on its way back."""
    host = given(tmp_path)
    host.set(task_state="deleting")

    host.ask(REVERT)

    assert host.held().keys() == {host.server}
    assert host.row()[1:3] == ("resized", "deleting")


# --- the host that gets it back -----------------------------------------------------------------
@pytest.mark.parametrize("ran", [True, False])
def test_it_is_as_before(tmp_path, ran):
    """Flavor, disk, port, volume, power, allocation and claim."""
    host = returning(tmp_path, ran=ran, volume=True)

    agent = host.ask(FINISH)

    vm_state = "active" if ran else "stopped"
    assert host.row() == ("host1", vm_state, None, SMALL)
    assert host.conductor.instance(host.server)["node"] == "fake.example"
    assert host.conductor.instance(host.server)["vcpus"] == 1
    assert host.forgotten()
    assert host.disks() == {"uuid": "old"}
    assert host.hypervisor.guests[host.server].state.name == ("RUNNING" if ran else "SHUTDOWN")
    assert host.hypervisor.guests[host.server].spec.vcpus == 1
    assert (host.bound(), len(host.vifs.ports)) == (["host1"], 1)
    assert host.cinder() == [("attached", "host1")]
    assert host.held() == {host.server: {"host1": {"VCPU": 1}}}
    assert agent.tools.claims.usage().used.vcpus == 1
    assert agent.tools.claims.here() == {host.server}


@pytest.mark.parametrize("starts", [True, False])
def test_the_network_cache_has_its_ports_here(tmp_path, monkeypatch, starts):
    """It is saved with the record; by itself only where that ends in an error."""
    mark_bindings(monkeypatch)
    host = returning(tmp_path)
    if not starts:
        failing(host, "start")

    with callers(host.conductor) as asked:
        agent = host.ask(FINISH)

    assert cached(host.conductor) == [("host1", starts)]
    assert is_remembered(agent)
    assert ["InfoCache" in call for call in asked].count(True) == (0 if starts else 1)


def test_on_one_host_it_is_as_before(tmp_path):
    """The new files go."""
    host = returning(tmp_path, dest="host1")
    host.hypervisor.guests.clear()
    host.vifs.ports.clear()

    agent = host.ask(FINISH)

    assert host.row() == ("host1", "active", None, SMALL)
    assert host.disks() == {"uuid": "old"}
    assert host.held() == {host.server: {"host1": {"VCPU": 1}}}
    assert agent.tools.claims.topology(host.server, Role.OUTGOING) is None
    assert agent.tools.claims.usage().used.vcpus == 1


@pytest.mark.parametrize(("old", "new", "left"), [(0, 64, None), (32, 64, 32), (32, 0, 32)])
def test_the_mappings_have_the_swap_of_before(tmp_path, old, new, left):
    """They were changed for the new flavor."""
    host = returning(tmp_path)
    for name, swap in (("old_flavor", old), ("new_flavor", new), ("flavor", new)):
        flavor = host.conductor.instance(host.server)[name]
        flavor["nova_object.data"]["swap"] = swap
        host.set(**{name: flavor})
    if new:
        with host.conductor.database() as tables:
            tables["BlockDeviceMapping"]["3"] = {
                **MAPPING, "id": 3, "instance_uuid": host.server, "source_type": "blank",
                "destination_type": "local", "volume_id": None, "attachment_id": None,
                "guest_format": "swap", "volume_size": new, "device_name": "/dev/vdc",
            }  # fmt: skip

    host.ask(FINISH)

    rows = host.conductor.read()["BlockDeviceMapping"].values()
    swap = [row["volume_size"] for row in rows
            if row.get("guest_format") == "swap" and not row.get("deleted")]  # fmt: skip
    assert swap == [left] * (left is not None)
    assert host.row()[1] == "active"


def test_a_second_message_has_no_effect(tmp_path):
    """The other host does not know whether its first one was sent."""
    host = returning(tmp_path)
    asked = host.arguments()
    host.ask(FINISH)
    before = host.look()

    host.run(FINISH, request="req-2", **asked)

    assert {**host.look(), "ended": 0} == {**before, "ended": 0}


def test_a_failure_leaves_it_here(tmp_path):
    """In ERROR with its disk, so that it can be rebooted hard."""
    host = returning(tmp_path)
    failing(host, "start")

    host.ask(FINISH)

    assert host.row() == ("host1", "error", None, SMALL)
    assert host.forgotten()
    assert host.disks() == {"uuid": "old"}
    assert host.faults() == ["start was made to fail (host host1)"]


def failing(host, method):
    def fail(*arguments, **options):
        raise HypervisorError(f"{method} was made to fail")

    setattr(host.hypervisor, method, fail)


# --- killed -------------------------------------------------------------------------------------
CASES = [(REVERT, given), (FINISH, returning)]


@pytest.mark.parametrize(("method", "make"), CASES)
def test_killed_at_any_boundary_it_ends_as_undisturbed(tmp_path, method, make):
    """With a volume; nothing twice, nothing left."""
    ends_as_undisturbed(tmp_path, method, make, Resized.killed)


@pytest.mark.parametrize(("method", "make"), CASES)
def test_after_a_power_failure_it_ends_as_undisturbed(tmp_path, method, make):
    """Taps, guests and what was not synced are gone."""
    ends_as_undisturbed(tmp_path, method, make, Resized.power_fails)


def ends_as_undisturbed(tmp_path, method, make, disturb):
    dry = make(tmp_path / "dry", volume=True)
    names = dry.boundaries(method, **dry.arguments())
    wanted = dry.look()
    wrong = {}
    if disturb is Resized.power_fails:
        names = [name for name in names if name.endswith(":end")]
    for number, boundary in enumerate(names):
        host = make(tmp_path / str(number), volume=True)
        asked = host.arguments()
        disturb(host, boundary, method, **asked)
        host.resume()
        if disturb is Resized.power_fails:  # a message that was not promised comes again
            host.run(method, **asked)
        seen = host.look()
        if disturb is Resized.power_fails and seen["vm_state"] in ("active", "stopped"):
            # It was recorded already: starting it again is for the start of the host.
            seen = {**seen, "guest": wanted["guest"], "taps": wanted["taps"]}
        if seen != wanted:
            wrong[boundary] = {k: (v, wanted[k]) for k, v in seen.items() if v != wanted[k]}
        shutil.rmtree(host.state)

    assert names
    assert wrong == {}
    assert wanted["migration"] == "reverted"
