"""Lanes of cloud tests: what each has for itself, and what it looks at for leaks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cloud.support import lanes
from tests.cloud.support.devcloud import DevCloud
from tests.cloud.support.ledger import Ledger


def test_lanes_share_neither_hosts_nor_names(monkeypatch: pytest.MonkeyPatch):
    """Names of one lane do not begin like those of another."""
    seen = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        seen.append((lanes.hosts(), lanes.name_prefix()))
    assert seen == [(("node1", "node2"), "nlt0"), (("node3", "node4"), "nlt1")]

    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert (lanes.hosts(), lanes.name_prefix()) == ((), "nlt")


def test_a_lane_sees_its_own_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without lanes, all that run."""
    for number in range(1, 6):
        (tmp_path / "nodes" / f"node{number}").mkdir(parents=True)
    cloud = DevCloud(tmp_path)
    monkeypatch.setattr(cloud, "process", lambda name: name != "node-node5")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert cloud.nodes() == ["node3", "node4"]
    assert cloud.other_node("node3") == "node4"

    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert cloud.nodes() == ["node1", "node2", "node3", "node4"]


class Cloud:
    """Two hosts with an unknown guest each, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def nodes(self) -> list[str]:
        return ["node3", "node4"]

    def on(self, node: str, *command: str) -> str:
        return f"guest-of-{node}" if command[0] == "virsh" else '{"data": []}'

    def nova_files(self, node: str) -> Path:
        (self._directory / node / "instances").mkdir(parents=True, exist_ok=True)
        return self._directory / node

    def provider(self, node: str) -> str:
        return node


def test_leaks_are_looked_for_where_the_lane_is(tmp_path: Path):
    """Ports of its hosts and ports of no host; those of other lanes are their affair."""
    ports = [
        {"id": host or "unbound", "device_id": "gone", "device_owner": "compute:nova",
         "binding:host_id": host}
        for host in ("node1", "node3", "")
    ]  # fmt: skip
    api = SimpleNamespace(
        network=None,
        rest=lambda service, method, path: {"ports": ports},
        placement_get=lambda path: {"allocations": {}},
        servers=lambda: [],
    )
    ledger = Ledger(Cloud(tmp_path), api)  # type: ignore[arg-type]
    assert ledger.orphans() == {
        "node3: domain of guest-of-node3", "node4: domain of guest-of-node4",
        "Neutron port node3 of gone", "Neutron port unbound of gone",
    }  # fmt: skip
