"""A resized server is kept where it is, or goes back to its old host, with real guests."""

from __future__ import annotations

import pytest

from nova_lite.wire.objects import WireObject, unwrap
from tests.functional.test_two_hosts import (
    MIGRATION,
    NOTHING,
    RUNS,
    at,
    begin_move,
    cast_to,
    go_on,
    is_resized,
    killed_at_each,
    trial,  # noqa: F401  a fixture
)

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(900)]


def resized(trial, target="host2"):  # noqa: F811
    """A server that has come from host1, and whose user is to choose."""
    root = trial.conductor.instance(trial.server)["flavor"]["nova_object.data"]["root_gb"]
    assert trial.hosts[target].run(begin_move(trial, target, root_gb=root + 1))
    go_on(trial, "resize_instance", "finish_resize")
    if target == "host2":
        is_resized(trial, trial.look_everywhere())
    trial.forget_events()


def ask(trial, method, status, **more):  # noqa: F811
    """The host that nova-api asks, and the message."""
    with trial.conductor.database() as tables:
        tables["Migration"]["1"]["status"] = status
        row = dict(tables["Migration"]["1"])
    if status == "reverting":
        trial.set(task_state="resize_reverting")
    migration = WireObject.new("Migration", "1.8", **row)
    migration.clear_changes()
    message = trial.message(method, migration=unwrap(migration), **more)
    return row["source_compute" if method == "confirm_resize" else "dest_compute"], message


def is_kept(trial, seen):  # noqa: F811
    """It is host2's, and host1 has nothing of it."""
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("active", None, "host2")
    assert at(seen, "host1") == NOTHING
    assert (seen["host2"]["domain"], seen["host2"]["taps"]) == (RUNS, 1)
    assert (seen["bound"], seen["allocations"]) == (["host2"], {"host2": {"VCPU": 2}})
    assert MIGRATION not in trial.ledger.read()["allocations"]
    assert trial.conductor.read()["Migration"]["1"]["status"] == "confirmed"


def is_back(trial, seen, before):  # noqa: F811
    """It is host1's as it was, and host2 has nothing of it."""
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("active", None, "host1")
    assert at(seen, "host2") == NOTHING
    for name in ("domain", "files", "taps", "volumes"):
        assert seen["host1"][name] == before["host1"][name], name
    assert (seen["bound"], seen["allocations"]) == (["host1"], {"host1": {"VCPU": 1}})
    assert MIGRATION not in trial.ledger.read()["allocations"]
    assert seen["volumes"]["cinder"] == [("in-use", "attached")]
    assert trial.conductor.read()["Migration"]["1"]["status"] == "reverted"
    record = trial.conductor.instance(trial.server)
    assert record["vcpus"] == before["vcpus"]
    assert not any(record[name] for name in ("old_flavor", "new_flavor", "migration_context"))


def test_a_resize_is_confirmed_wherever_the_agent_is_killed(trial, request):  # noqa: F811
    """Nothing is left on the old host."""
    resized(trial)
    host, message = ask(trial, "confirm_resize", "confirming")

    wanted, wrong = killed_at_each(trial, host, message, request)

    assert not wrong, "\n".join(map(str, wrong))
    is_kept(trial, wanted)


@pytest.mark.parametrize("verb", [None, "revert_resize", "finish_revert_resize"])
def test_a_resize_is_reverted_wherever_an_agent_is_killed(trial, request, verb):  # noqa: F811
    """Of the host that gives the server back, or of the one that gets it."""
    before = {**trial.look_everywhere(), "vcpus": trial.conductor.instance(trial.server)["vcpus"]}
    resized(trial)
    host, message = ask(trial, "revert_resize", "reverting", request_spec=None)
    if verb != "revert_resize":
        assert trial.hosts[host].run(message)
        host, message = cast_to(trial, "finish_revert_resize")
    if verb:
        wanted, wrong = killed_at_each(trial, host, message, request)
        assert not wrong, "\n".join(map(str, wrong))
    if verb != "finish_revert_resize":
        go_on(trial, "finish_revert_resize")

    is_back(trial, trial.look_everywhere(), before)
    if verb is None:
        trial.hosts["host1"].wait_for_guest()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_resize_on_one_host_ends(trial, keeps):  # noqa: F811
    """One set of files is left, and one guest runs."""
    before = {**trial.look_everywhere(), "vcpus": trial.conductor.instance(trial.server)["vcpus"]}
    resized(trial, "host1")
    if keeps:
        host, message = ask(trial, "confirm_resize", "confirming")
        assert trial.hosts[host].run(message)
        seen = trial.look_everywhere()
        assert (seen["vm_state"], seen["host1"]["domain"]) == ("active", RUNS)
        files = [name for name in seen["host1"]["files"] if name.startswith("server")]
        assert "server/disk" in files and not [n for n in files if n.startswith("server_resize")]
        return
    host, message = ask(trial, "revert_resize", "reverting", request_spec=None)
    assert trial.hosts[host].run(message)
    go_on(trial, "finish_revert_resize")
    is_back(trial, trial.look_everywhere(), before)


def test_a_host_that_loses_power_in_a_revert_brings_the_server_back(trial):  # noqa: F811
    """What it had not synced it has not promised."""
    before = {**trial.look_everywhere(), "vcpus": trial.conductor.instance(trial.server)["vcpus"]}
    resized(trial)
    host, message = ask(trial, "revert_resize", "reverting", request_spec=None)
    assert trial.hosts[host].run(message)
    host, message = cast_to(trial, "finish_revert_resize")
    source = trial.hosts[host]
    boundary = "finish_revert_resize:restore_kept:end"
    assert not source.run(message, kill=boundary, durable=True)
    source.lose_power()

    assert source.run(joins=True)

    is_back(trial, trial.look_everywhere(), before)
