"""A resized server stays where it is: its old host forgets it, wholly and once."""

from __future__ import annotations

import shutil

import pytest

from nova_lite.conductor.instances import Instances
from nova_lite.engine.queues import Pool
from nova_lite.errors import DiskError
from nova_lite.inventory.claims import Role
from nova_lite.services import kept_disks
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap
from tests.unit.operations.resized import LARGE, MIGRATION, Resized

METHOD = "confirm_resize"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def host(tmp_path):
    return Resized(tmp_path, status="confirming")


def confirmed(host, vm_state="active"):
    """Nothing of before is left, and the server is host2's."""
    assert host.row() == ("host2", vm_state, None, LARGE)
    assert host.forgotten()
    assert host.migration()["status"] == "confirmed"
    assert (host.hypervisor.guests, host.vifs.ports, host.disks()) == ({}, {}, {})
    assert host.held() == {host.server: {"host2": {"VCPU": 2}}}
    assert host.bound() == ["host2"]


def test_what_was_kept_is_removed(host):
    """Guest, files, claim and allocation; ports and volumes are the other host's."""
    agent = host.ask(METHOD)

    confirmed(host)
    assert agent.tools.claims.servers() == frozenset()
    assert host.look()["ended"] == [
        ("compute_confirm_resize", "finish"), ("compute_confirm_resize", "start"),
    ]  # fmt: skip


def test_a_server_that_is_off_is_stopped(tmp_path):
    """By its power state as the other host has recorded it: its user may have started it."""
    host = Resized(tmp_path, status="confirming", ran=False)

    host.ask(METHOD)

    confirmed(host, "stopped")


def test_the_call_before_a_delete_is_answered(host):
    """nova-api calls it while the migration is still finished, and deletes afterwards."""
    host.end(status="finished")
    host.set(task_state="deleting")

    host.ask(METHOD)

    confirmed(host)


def test_on_one_host_the_guest_goes_on(tmp_path):
    """Only the old files and the old claim go."""
    host = Resized(tmp_path, dest="host1", status="confirming")

    agent = host.ask(METHOD)

    assert host.row() == ("host1", "active", None, LARGE)
    assert host.hypervisor.guests[host.server].state.name == "RUNNING"
    assert len(host.vifs.ports) == 1
    assert host.disks() == {"uuid": "new"}
    assert host.held() == {host.server: {"host1": {"VCPU": 2}}}
    assert agent.tools.claims.topology(host.server, Role.OUTGOING) is None
    assert agent.tools.claims.here() == {host.server}
    assert agent.tools.claims.usage().used.vcpus == 2


@pytest.mark.parametrize("status", ["confirmed", "reverting", "error", "finished"])
def test_a_move_that_is_over_is_left_alone(host, status):
    """The message comes late; what is kept here may be another move's."""
    asked = host.arguments()
    host.end(**({"uuid": "other"} if status == "finished" else {"status": status}))
    before = host.look()

    host.run(METHOD, **asked)

    after = host.look()
    for seen in (before, after):
        del seen["ended"]
    assert after == before


def test_a_deleted_server_leaves_nothing(host):
    """Its record was deleted while the message was on its way."""
    agent, sent = host.agent(), Instances(host.conductor).get(RequestContext.admin(), host.server)
    host.set(deleted=True)
    host.end(deleted=True)

    asked = {"instance": sent, **wrap(host.arguments())}
    agent.engine.begin(METHOD, RequestContext({"request_id": "req-1"}), host.server, asked)
    assert agent.engine.settle(60)

    assert (host.hypervisor.guests, host.disks()) == ({}, {})
    assert MIGRATION not in host.held()
    assert agent.tools.claims.servers() == frozenset()


def test_a_failure_leaves_it_to_be_confirmed_again(host, monkeypatch):
    """The server runs on the other host: it is not put into ERROR."""

    def refused(work):
        raise DiskError("cannot remove it")

    with monkeypatch.context() as patched:
        patched.setattr(kept_disks, "discard", refused)
        host.ask(METHOD)

    assert host.row() == ("host2", "resized", None, LARGE)
    assert host.migration()["status"] == "finished"
    assert host.faults() == ["cannot remove it (host host1)"]

    host.end(status="confirming")
    host.run(METHOD, request="req-2", **host.arguments())
    confirmed(host)


def test_killed_at_any_boundary_it_ends_as_undisturbed(tmp_path):
    """What has begun is ended."""
    ends_as_undisturbed(tmp_path, Resized.killed)


def test_after_a_power_failure_it_ends_as_undisturbed(tmp_path):
    """Whatever was not synced."""
    ends_as_undisturbed(tmp_path, Resized.power_fails)


def ends_as_undisturbed(tmp_path, disturb):
    dry = Resized(tmp_path / "dry", status="confirming")
    names = dry.boundaries(METHOD, **dry.arguments())
    wanted = dry.look()
    wrong = {}
    if disturb is Resized.power_fails:
        names = [name for name in names if name.endswith(":end")]
    for number, boundary in enumerate(names):
        host = Resized(tmp_path / str(number), status="confirming")
        disturb(host, boundary, METHOD, **host.arguments())
        host.resume()
        if disturb is Resized.power_fails:  # a message that was not promised comes again
            host.run(METHOD, **host.arguments())
        if host.look() != wanted:
            wrong[boundary] = {k: (v, wanted[k]) for k, v in host.look().items() if v != wanted[k]}
        shutil.rmtree(host.state)

    assert names
    assert wrong == {}
    assert (wanted["vm_state"], wanted["migration"], wanted["on_disk"]) == (
        "active", "confirmed", {},
    )  # fmt: skip


def test_what_another_move_keeps_survives_a_late_resume(tmp_path):
    """The agent was killed when all was recorded; the server has moved on since, and what is under
    the same name now belongs to that."""
    host = Resized(tmp_path, status="confirming")
    host.power_fails(f"{METHOD}:record_settled:end", METHOD, **host.arguments())
    host.kept.mkdir()
    (host.kept / "disk").write_text("of the next move")

    host.resume()

    assert host.disks() == {"uuid_resize": "of "}
    assert MIGRATION not in host.held()


def test_a_server_that_is_deleted_in_the_middle_leaves_no_allocation(host):
    """Whoever deletes it does not know of the migration."""
    real = host.conductor.object_instance_save

    def gone(tables, context, obj, **conditions):
        tables["Instance"][host.server]["deleted"] = True
        return real(tables, context, obj, **conditions)

    host.conductor.object_instance_save = gone
    agent = host.ask(METHOD)

    assert (host.hypervisor.guests, host.disks()) == ({}, {})
    assert MIGRATION not in host.held()
    assert agent.tools.claims.servers() == frozenset()
