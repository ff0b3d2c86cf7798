"""Live migration between two hosts: the guest goes on, and every ledger has it in one place.

The host under test is each end in turn; the other one has nova-lite, or stock nova-compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import LITE, STOCK, DevCloud, wait_for
from tests.cloud.support.guest import Guest, boot_with_agent
from tests.cloud.support.live import boot_id, sending, went_live
from tests.cloud.support.moves import SECONDS, Moves, all_ways
from tests.cloud.support.streams import Neighbour, echo, held
from tests.cloud.support.trials import kill_either
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1200)]

# Slow enough to be stopped while memory is copied, which 128 MiB are in no time else (MiB/s).
SLOWLY = "[libvirt]\nlive_migration_bandwidth = 1"
# How many boundaries of each verb are tried unless --full is given.
SAMPLE = 1
DRAINED = 10


@pytest.fixture
def alike(cloud: DevCloud, other: str) -> Iterator[None]:
    """Both hosts send to each other."""
    with sending(cloud, other):
        yield


@all_ways((LITE, "there"), (STOCK, "there"))
@pytest.mark.usefixtures("alike")
def test_a_running_server_moves(cloud, api, moves, ends, garbage):
    """With its disk, its volume, its config drive, its port and addresses."""
    old, new = ends
    volumes = Volumes(api, garbage.later)
    server = boot_with_agent(api, old, garbage, config_drive=True)["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    (port,) = api.ports(server)
    content, running = moves.mark(old, server), boot_id(cloud, old, server)

    went_live(cloud, moves, server, new, running)

    assert moves.checksum(new, server) == content
    assert volumes.users(volume) == [server]
    (moved,) = api.ports(server)
    assert (moved["id"], moved["fixed_ips"]) == (port["id"], port["fixed_ips"])
    assert api.wait_event(server, "live-migration", "compute_live_migration")["result"] == "Success"
    # What is defined there is that host's: the next start uses it.
    api.act(server, "reboot", {"type": "HARD"})
    api.wait_status(server, "ACTIVE", SECONDS)
    assert moves.checksum(new, server) == content


@pytest.mark.usefixtures("alike")
def test_there_and_back(cloud, api, moves, ends, garbage):
    """What a move leaves on its old host is not in the way of the next one."""
    old, new = ends
    server = boot_with_agent(api, old, garbage)["id"]
    running = boot_id(cloud, old, server)
    for target in (new, old):
        went_live(cloud, moves, server, target, running)


@all_ways()
@pytest.mark.usefixtures("alike")
def test_connections_outlive_the_move(cloud, api, neutron, moves, ends, garbage):
    """From outside and from another guest: none is broken, and all that was sent comes back."""
    old, new = ends
    server, beside = (boot_with_agent(api, old, garbage)["id"] for _ in range(2))
    (port,) = api.ports(server)
    outside = neutron.floating_ip(port["id"])["floating_ip_address"]
    echo(Guest(cloud, old, server))
    neighbour = Neighbour(Guest(cloud, old, beside))

    with (
        neighbour.at(port["fixed_ips"][0]["ip_address"], 0.2),
        held(outside, 0.2) as stream,
    ):
        moves.live(server, new)
        moves.wait_live(server)
        moves.settled(server, new)

    assert stream.whole, stream
    assert neighbour.stream.whole, neighbour.stream


def test_a_paused_server_stays_paused(cloud, api, moves, node, peer, garbage):
    """Its guest does not run for a moment."""
    server = boot_with_agent(api, node, garbage)["id"]
    api.act(server, "pause")
    api.wait_status(server, "PAUSED", SECONDS)

    moves.live(server, peer)
    moves.wait_live(server)

    assert api.server(server)["status"] == "PAUSED"
    assert cloud.on(peer, "virsh", "domstate", server).strip() == "paused"
    api.act(server, "unpause")
    api.wait_status(server, "ACTIVE", SECONDS)


@pytest.mark.alone
def test_a_disk_in_ceph_stays_where_it_is(cloud, api, moves, node, peer, garbage):
    """Nothing but memory is copied."""
    on_ceph = "[libvirt]\nimages_type = rbd"
    with cloud.options(node, on_ceph), cloud.options(peer, on_ceph):
        server = boot_with_agent(api, node, garbage)["id"]
        content, running = moves.mark(node, server), boot_id(cloud, node, server)
        went_live(cloud, moves, server, peer, running)
        assert moves.checksum(peer, server) == content
        api.delete(server)
        api.wait_gone(server)


# --- ended by the user --------------------------------------------------------------------------
@pytest.fixture
def slow(cloud: DevCloud, node: str) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        undo.enter_context(cloud.options(node, SLOWLY))
        yield


def under_way(api: Api, moves: Moves, server: str, host: str) -> dict[str, Any]:
    """Begin a slow live migration; it runs, and the API tells how much is left."""
    moves.live(server, host)
    moves.wait_live_status(server, "running")

    def look() -> dict[str, Any] | None:
        shown = api.call("GET", f"/servers/{server}/migrations")["migrations"]
        return dict(shown[0]) if shown and shown[0]["memory_remaining_bytes"] else None

    return wait_for("progress", look, SECONDS)


def test_an_aborted_move_leaves_the_server_where_it_was(
    cloud, api, moves, node, peer, slow, garbage
):
    """It runs on, and the other host has nothing of it."""
    server = boot_with_agent(api, node, garbage)["id"]
    content, running = moves.mark(node, server), boot_id(cloud, node, server)
    found = under_way(api, moves, server, peer)
    assert found["memory_total_bytes"] >= found["memory_remaining_bytes"] > 0

    api.call("DELETE", f"/servers/{server}/migrations/{found['id']}", ok=False)

    moves.wait_live(server, "cancelled")
    moves.settled(server, node)
    assert (boot_id(cloud, node, server), moves.checksum(node, server)) == (running, content)
    assert api.wait_event(server, "live_migration_cancel", "compute_live_migration_abort")


def test_a_move_is_forced_to_its_end(cloud, api, moves, node, peer, slow, garbage):
    """By post-copy, or in a pause; it is not booted anew."""
    server = boot_with_agent(api, node, garbage)["id"]
    running = boot_id(cloud, node, server)
    found = under_way(api, moves, server, peer)

    api.call("POST", f"/servers/{server}/migrations/{found['id']}/action",
             {"force_complete": None}, ok=False)  # fmt: skip

    moves.wait_live(server)
    moves.settled(server, peer)
    assert boot_id(cloud, peer, server) == running


# --- refused ------------------------------------------------------------------------------------
def test_without_room_it_stays(cloud, api, moves, node, peer, garbage):
    """A host whose image directory is too small is refused by the check; nothing was changed."""
    server = boot_with_agent(api, node, garbage)["id"]
    with cloud.options(peer, "[DEFAULT]\nreserved_host_disk_mb = 100000000"):
        before = moves.places(server)
        response = api.call(
            "POST", f"/servers/{server}/action",
            {"os-migrateLive": {"host": peer, "block_migration": "auto"}}, ok=False,
        )  # fmt: skip
        assert response.status_code in (202, 400)
        if response.ok:
            moves.wait_live(server, "error")
        assert moves.places(server) == before
        assert api.server(server)["status"] == "ACTIVE"


# --- many, and killed ---------------------------------------------------------------------------
@pytest.mark.alone
def test_a_host_is_drained(api, moves, node, peer, garbage):
    """As for maintenance: no new servers, and those that are there go where the scheduler says."""
    servers = [garbage.server(api.request_boot(node)["id"]) for _ in range(DRAINED)]
    for server in servers:
        api.wait_status(server, "ACTIVE", SECONDS)
    with moves.only(peer):
        for server in servers:
            api.act(server, "os-migrateLive", {"host": None, "block_migration": "auto"})
        for server in servers:
            moves.wait_live(server)
    for server in servers:
        moves.settled(server, peer)
    left = api.call("GET", f"/servers/detail?all_tenants=1&host={node}")["servers"]
    assert not [server["id"] for server in left if server["id"] in servers]


VERBS = ("check_can_live_migrate_destination", "check_can_live_migrate_source",
         "pre_live_migration", "live_migration", "post_live_migration_at_destination")  # fmt: skip


@pytest.mark.timeout(3000)
def test_either_agent_is_killed(
    cloud, api, node, agent, other_agent, moves, choose, ledger, garbage
):
    """Wherever a migration is cut off, its guest goes on to the new host, and never stops.

    An answer that is lost while the hosts only check leaves it where it is: the user asks again.
    """
    peer = cloud.other_node(node)
    server = boot_with_agent(api, node, garbage)["id"]
    content, running = moves.mark(node, server), boot_id(cloud, node, server)
    agents = {node: agent, peer: other_agent}
    at = [node]

    def move(armed: str | None = None, boundary: str = "") -> None:
        """To the host where the server is not; ``armed`` dies at the boundary."""
        old = at[0]
        new = peer if old == node else node
        dying = agents[{"old": old, "new": new}[armed]] if armed else None
        if dying:
            dying.arm(boundary)
        moves.live(server, new)
        if dying:
            dying.wait_dead()
            dying.start()
        checking = boundary.startswith("check_")
        ended = moves.wait_live(server, "completed", *(["error"] if checking else []))
        at[0] = new if ended["status"] == "completed" else old
        moves.settled(server, at[0])
        assert (boot_id(cloud, at[0], server), moves.checksum(at[0], server)) == (running, content)

    kill_either(move, {"old": agent, "new": other_agent}, VERBS,
                lambda kind, seen: choose(f"live {kind}", seen, SAMPLE), ledger)  # fmt: skip
