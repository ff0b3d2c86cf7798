"""What becomes of the network cache of a server whose ports are bound to another host."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.fakes.ledger_ports import FakePorts


def mark_bindings(monkeypatch):
    """A port that is bound to a host is down until it is wired up there, and its network has the
    name of that host."""
    bind = FakePorts.bind

    def marked(self, context, server, known, host, providers=None):
        vifs = bind(self, context, server, known, host, providers)
        return [
            replace(vif, active=False, network=replace(vif.network, label=host)) for vif in vifs
        ]

    monkeypatch.setattr(FakePorts, "bind", marked)


def cached(conductor):
    """(name of the network, whether it is active) of each port in the only network cache."""
    return [(vif["network"]["label"], vif["active"]) for vif in json.loads(_text(conductor))]


def is_remembered(agent):
    """Whether the agent knows the cache as it is, so that an event about it is no news."""
    (server,) = agent.conductor.read()["InstanceInfoCache"]
    return agent.tools.info_caches.recent(server) == _text(agent.conductor)


def _text(conductor):
    (row,) = conductor.read()["InstanceInfoCache"].values()
    return row["network_info"]
