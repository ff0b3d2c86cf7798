"""Live migration while nova_lite has none: every ledger is as it was before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

SECONDS = 90


def moves(api: Any, server: str) -> list[dict[str, Any]]:
    """The server's migration records, newest first."""
    found = api.call("GET", f"/os-migrations?instance_uuid={server}")["migrations"]
    return sorted(found, key=lambda row: row["id"], reverse=True)


def ended(api: Any, server: str) -> dict[str, Any]:
    """The migration that was asked for, once it is over and the server has no task."""

    def look() -> dict[str, Any] | None:
        found = moves(api, server)
        idle = api.server(server)["OS-EXT-STS:task_state"] is None
        return found[0] if idle and found and found[0]["status"] in ("error", "failed") else None

    return wait_for(f"end of the move of {server}", look, SECONDS)


def check(api: Any, cloud: Any, node: str, server: str, held: Any) -> None:
    """ACTIVE where it was, with its own allocation, and no other consumer holds anything."""
    migration = ended(api, server)
    assert migration["status"] == "error"
    shown = api.server(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", node)
    wait_for("its allocation back", lambda: _resources(api, server) == held, SECONDS)
    assert api.allocations(migration["uuid"]) == {}
    assert server in cloud.on(node, "virsh", "list", "--uuid").split(), "the guest runs"


def _resources(api: Any, server: str) -> dict[str, Any]:
    return {host: row["resources"] for host, row in api.allocations(server).items()}


def test_a_refused_move_leaves_the_server_as_it_was(api, cloud, node, boot):
    """Twice: what the first one left would show in the second."""
    server = boot()["id"]
    held = _resources(api, server)
    assert list(held) == [cloud.provider(node)]

    for _ in range(2):
        asked = {"host": cloud.other_node(node), "block_migration": "auto"}
        api.call("POST", f"/servers/{server}/action", {"os-migrateLive": asked}, ok=False)
        check(api, cloud, node, server, held)

    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF")
