"""A live migration that nobody goes on with is ended, wherever its guest is."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import PeerUnavailable
from nova_lite.model.live_migration import LiveMigration
from nova_lite.rpc import endpoint
from tests.unit.operations.live import TARGET_URI, VERBS, LiveHosts
from tests.unit.operations.two_hosts import MIGRATION


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def under_way(directory):
    """By a stock agent, which was stopped."""
    hosts = LiveHosts(directory, shared=True)
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "running"
    fake = hosts.source.hypervisor
    fake.migration_looks = 10**9
    fake.migrate(hosts.server, LiveMigration(TARGET_URI, fake.live_definition(hosts.server)))
    return hosts


def settle(hosts, observer=None):
    hosts.run(hosts.source, "settle_live_migration", observer)


def test_a_migration_that_goes_on_is_ended(tmp_path):
    """As stock does it at its start; allocations and ports come back besides."""
    hosts = under_way(tmp_path)

    settle(hosts)

    assert hosts.state() == ("host1", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == ("RUNNING", None)
    assert hosts.migration()["status"] == "error"
    content = hosts.ledger.read()
    assert content["allocations"] == {hosts.server: {"host1": {"VCPU": 1}}}
    assert not any(content["beside"].values())


def test_a_guest_that_has_gone_is_recorded_there(tmp_path, monkeypatch):
    """Its record must not name the host that it has left, though the other one cannot help."""
    monkeypatch.setattr("nova_lite.steps.live.leave.PATIENCE_S", 0.2)
    hosts = under_way(tmp_path)
    hosts.source.hypervisor.arrive(hosts.server)

    def finish(arguments):
        raise PeerUnavailable("host2 is silent")

    hosts.peers.answers["host2"]["post_live_migration_at_destination"] = finish
    hosts.peers.answers["host2"]["check_instance_shared_storage"] = True

    settle(hosts)

    assert hosts.state() == ("host2", "active", None)
    assert hosts.migration()["status"] == "completed"
    assert set(hosts.ledger.read()["bound"].values()) == {"host2"}
    assert MIGRATION not in hosts.ledger.read()["allocations"]
    assert hosts.look()["host1"]["files"], "the other host has the same ones"
    assert hosts.look()["host1"]["taps"] == 0


def test_a_request_that_never_came(tmp_path):
    """Nothing was begun, not even a migration."""
    hosts = LiveHosts(tmp_path)
    with hosts.conductor.database() as tables:
        tables["Migration"] = {}

    settle(hosts)

    assert hosts.state() == ("host1", "active", None)
    assert hosts.faults() == []


def test_the_survey_begins_it():
    """For a server that is found MIGRATING."""
    from nova_lite.model.states import TaskState
    from nova_lite.operations.restart import by_task_state

    assert by_task_state(VERBS)[TaskState.MIGRATING][0] == "settle_live_migration"
