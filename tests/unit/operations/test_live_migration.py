"""A running server goes to another host: once, whole, and never on two."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.rpc import endpoint
from tests.unit.operations.host import ATTACHMENT
from tests.unit.operations.live import NEW_ATTACHMENT, VERBS, LiveHosts
from tests.unit.operations.two_hosts import MIGRATION, NODE


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
