"""Resize and cold migration between two hosts, and on one: users, guests and every ledger.

The host under test is each end of the move in turn; the other one has nova-lite, or stock
nova-compute.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import LITE, STOCK, DevCloud, wait_for
from tests.cloud.support.guest import boot_with_agent
from tests.cloud.support.moves import SECONDS, Moves, all_ways
from tests.cloud.support.trials import kill_either
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1200)]

GIB = 1024**3
# How many boundaries of each verb are tried unless --full is given.
SAMPLE = 1


# --- cold migration -----------------------------------------------------------------------------
@all_ways((LITE, "here"), (STOCK, "here"))
def test_a_running_server_is_migrated_and_confirmed(api, moves, ends, garbage):
    """With its data, its volume, its port and addresses, and its config drive."""
    old, new = ends
    volumes = Volumes(api, garbage.later)
    server = boot_with_agent(api, old, garbage, config_drive=True)["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    (port,) = api.ports(server)
    content = moves.mark(old, server)

    moves.migrate(server, new)
    assert moves.wait_moved(server)["OS-EXT-SRV-ATTR:host"] == new
    moves.waits(server, old, new)
    assert moves.checksum(new, server) == content
    assert volumes.users(volume) == [server]

    moves.confirm(server)
    moves.settled(server, new)
    (moved,) = api.ports(server)
    assert (moved["id"], moved["fixed_ips"]) == (port["id"], port["fixed_ips"])
    assert moves.checksum(new, server) == content
    for action, event in (("migrate", "compute_prep_resize"), ("migrate", "compute_finish_resize"),
                          ("confirmResize", "compute_confirm_resize")):  # fmt: skip
        assert api.wait_event(server, action, event)["result"] == "Success"


def test_a_stopped_server_is_migrated_and_comes_back(api, moves, ends, garbage):
    """It is off all the time, and has its volume when it starts."""
    old, new = ends
    volumes = Volumes(api, garbage.later)
    server = boot_with_agent(api, old, garbage)["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    content = moves.mark(old, server)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)

    moves.migrate(server, new)
    moves.wait_moved(server)
    moves.waits(server, old, new, running=False)
    moves.revert(server, "SHUTOFF")
    moves.settled(server, old, running=False)

    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    assert moves.checksum(old, server) == content
    assert volumes.users(volume) == [server]


def test_a_server_without_its_image_is_migrated(cloud, api, moves, node, peer, garbage):
    """What its disk is based on goes with it."""
    path = cloud.state / "images" / "tiny-fast.qcow2"
    image = api.upload_image(path, "qcow2", hw_qemu_guest_agent="yes")
    garbage.later(lambda: api.delete_image(image))
    server = garbage.server(api.request_boot(node, image=image)["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(node, server)
    api.delete_image(image)

    moves.migrate(server, peer)
    moves.wait_moved(server)

    assert moves.checksum(peer, server) == content
    moves.confirm(server)
    moves.settled(server, peer)


def test_a_server_that_waits_is_deleted(api, moves, ends, garbage):
    """Nothing of it is left on either host."""
    old, new = ends
    server = garbage.server(api.request_boot(old)["id"])
    api.wait_status(server, "ACTIVE", 180)
    moves.migrate(server, new)
    moves.wait_moved(server)

    moves.delete_waiting(server)


def test_nobody_confirms(cloud, api, moves, node, peer, garbage):
    """The new host does after resize_confirm_window."""
    server = garbage.server(api.request_boot(node)["id"])
    api.wait_status(server, "ACTIVE", 180)
    with cloud.options(peer, "[DEFAULT]\nresize_confirm_window = 1"):
        moves.migrate(server, peer)
        api.wait_status(server, "ACTIVE", SECONDS)  # it is ACTIVE before, too
        wait_for("confirmed", lambda: moves.migration(server)["status"] == "confirmed", SECONDS)
        api.wait_status(server, "ACTIVE", SECONDS)
    moves.settled(server, peer)
    assert api.wait_event(server, "confirmResize", "compute_confirm_resize")["result"] == "Success"


# --- resize -------------------------------------------------------------------------------------
@pytest.mark.parametrize("keeps", [True, False], ids=["confirm", "revert"])
def test_a_server_is_resized(api, moves, ends, garbage, keeps):
    """It has the CPUs and the disk of the flavor, and its data; or all of that as before."""
    old, new = ends
    server = boot_with_agent(api, old, garbage)["id"]
    content = moves.mark(old, server)

    before = api.server(server)["flavor"]["original_name"]
    moves.resize(server, moves.flavor(garbage.later, new, vcpus=2, disk=2))
    moved = moves.wait_moved(server)
    assert moved["OS-EXT-SRV-ATTR:host"] == new
    moves.waits(server, old, new)
    assert moves.vcpus(new, server) == 2
    assert moves.root_bytes(new, server) == 2 * GIB
    assert moves.checksum(new, server) == content

    if keeps:
        moves.confirm(server)
    else:
        moves.revert(server)
    where = new if keeps else old
    moves.settled(server, where)
    assert moves.vcpus(where, server) == (2 if keeps else 1)
    assert moves.root_bytes(where, server) == (2 if keeps else 1) * GIB
    assert moves.checksum(where, server) == content
    after = moved["flavor"]["original_name"]
    assert api.server(server)["flavor"]["original_name"] == (after if keeps else before)


@pytest.mark.parametrize("keeps", [True, False], ids=["confirm", "revert"])
def test_a_disk_in_ceph_stays_where_it_is(cloud, api, moves, node, peer, garbage, keeps):
    """It grows, and is rolled back; the snapshot for that is gone in the end."""
    on_ceph = "[libvirt]\nimages_type = rbd"
    with cloud.options(node, on_ceph), cloud.options(peer, on_ceph):
        server = garbage.server(api.request_boot(node, image="tiny-raw")["id"])
        api.wait_status(server, "ACTIVE", 180)
        disk = f"vms/{server}_disk"
        moves.resize(server, moves.flavor(garbage.later, peer, vcpus=2, disk=2))
        moves.wait_moved(server)
        assert _rbd_size(cloud, disk) == 2 * GIB
        assert "nova-resize" in cloud.run("run", "rbd", "snap", "ls", "--all", disk)

        (moves.confirm if keeps else moves.revert)(server)

        moves.settled(server, peer if keeps else node)
        assert _rbd_size(cloud, disk) == (2 if keeps else 1) * GIB
        assert cloud.run("run", "rbd", "snap", "ls", "--all", disk).strip() == ""
        api.delete(server)
        api.wait_gone(server)


def _rbd_size(cloud: DevCloud, image: str) -> int:
    return int(json.loads(cloud.run("run", "rbd", "info", "--format", "json", image))["size"])


@pytest.fixture
def same_host(cloud: DevCloud, api: Api) -> Iterator[None]:
    """nova-api lets a server be resized on its host."""
    conf = cloud.state / "etc" / "nova" / "nova.conf"
    before = conf.read_text()
    option = "allow_resize_to_same_host = "
    conf.write_text(before.replace(f"{option}false", f"{option}true"))
    _reload(cloud, api)
    yield
    conf.write_text(before)
    _reload(cloud, api)


def _reload(cloud: DevCloud, api: Api) -> None:
    """Have nova-api read its configuration: uWSGI replaces all its workers."""
    process = cloud.process("nova-api")
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    before = set(children.read_text().split())
    os.kill(process.pid, signal.SIGHUP)

    def replaced() -> bool:
        now = set(children.read_text().split()) if children.exists() else before
        return bool(now) and not now & before

    wait_for("new workers of nova-api", replaced, 120)
    wait_for("nova-api", lambda: api.call("GET", "/flavors", ok=False).ok, 60)


@pytest.mark.alone
@pytest.mark.parametrize("keeps", [True, False], ids=["confirm", "revert"])
def test_a_server_is_resized_on_its_host(cloud, api, moves, node, same_host, garbage, keeps):
    """Both sets of disks are there until the user has chosen."""
    server = boot_with_agent(api, node, garbage)["id"]
    content = moves.mark(node, server)

    with moves.only(node):
        moves.resize(server, api.flavor("m1.two"))
        moves.wait_moved(server)
    found = moves.places(server).directories
    assert found == (f"{node}/uuid", f"{node}/uuid_resize")
    assert moves.vcpus(node, server) == 2
    (moves.confirm if keeps else moves.revert)(server)

    moves.settled(server, node)
    assert moves.vcpus(node, server) == (2 if keeps else 1)
    assert moves.checksum(node, server) == content


# --- refused ------------------------------------------------------------------------------------
def unmoved(api: Any, moves: Moves, node: str, server: str, text: str) -> None:
    """The server runs where it was, with a fault that users see."""
    assert moves.wait_ended(server)["status"] == "error"
    moves.settled(server, node)
    faults = json.dumps([action["events"] for action in api.actions(server)])
    assert text in faults or text in json.dumps(api.server(server).get("fault"))


def test_a_smaller_disk_is_refused(api, moves, ends, garbage, disk_flavor):
    """Nobody knows what is at its end. Of root disks nova-api sees that itself."""
    old, new = ends
    server = garbage.server(api.request_boot(old, flavor=disk_flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)

    moves.resize(server, moves.flavor(garbage.later, new))
    unmoved(api, moves, old, server, "Unable to resize disk down")


def test_a_host_whose_key_is_not_known_gets_nothing(cloud, api, moves, node, peer, garbage):
    """The guest is not even powered off."""
    server = garbage.server(api.request_boot(node)["id"])
    api.wait_status(server, "ACTIVE", 180)
    keys = cloud.state / "nodes" / peer / "ssh" / "authorized_keys"
    before = keys.read_text()
    keys.write_text("")
    try:
        moves.migrate(server, peer)
        unmoved(api, moves, node, server, peer)
    finally:
        keys.write_text(before)


@pytest.mark.alone
def test_a_host_without_room_is_not_the_last_one(api, moves, node, peer, garbage):
    """The scheduler does not look at huge pages here: one host after the other says no."""
    flavor = moves.flavor(garbage.later, specs={"hw:mem_page_size": "1048576"})
    server = garbage.server(api.request_boot(node)["id"])
    api.wait_status(server, "ACTIVE", 180)

    moves.resize(server, flavor)

    unmoved(api, moves, node, server, "")
    asked = [e["host"] for e in api.events(server, "resize") if e["event"] == "compute_prep_resize"]
    assert len(set(asked)) == len(asked) >= 1
    assert node not in asked


# --- killed -------------------------------------------------------------------------------------
VERBS = ("prep_resize", "resize_instance", "finish_resize", "confirm_resize", "revert_resize",
         "finish_revert_resize")  # fmt: skip


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("keeps", [True, False], ids=["confirm", "revert"])
def test_either_agent_is_killed(
    cloud, api, node, agent, other_agent, moves, choose, ledger, garbage, keeps
):
    """Wherever a move is cut off, it ends as if nothing had been."""
    peer = cloud.other_node(node)
    server = boot_with_agent(api, node, garbage)["id"]
    content = moves.mark(node, server)
    agents = {node: agent, peer: other_agent}
    at = [node]

    def there_and_back(armed: str | None = None, boundary: str = "") -> None:
        """A move to the host where the server is not; ``armed`` dies at the boundary."""
        old = at[0]
        new = peer if old == node else node
        role = {"old": old, "new": new}
        if armed:
            agents[role[armed]].arm(boundary)
        moves.migrate(server, new)
        if armed and not boundary.startswith(VERBS[3:]):
            agents[role[armed]].wait_dead()
            agents[role[armed]].start()
        moves.wait_moved(server)
        if keeps:
            api.call("POST", f"/servers/{server}/action", {"confirmResize": None}, ok=False)
        else:
            api.act(server, "revertResize")
        if armed and boundary.startswith(VERBS[3:]):
            agents[role[armed]].wait_dead()
            agents[role[armed]].start()
        wait_for(
            "the end", lambda: moves.migration(server)["status"] in ("confirmed", "reverted"),
            SECONDS,
        )  # fmt: skip
        api.wait_status(server, "ACTIVE", SECONDS)
        at[0] = new if keeps else old
        moves.settled(server, at[0])
        assert moves.checksum(at[0], server) == content

    kill_either(there_and_back, {"old": agent, "new": other_agent}, VERBS,
                lambda kind, seen: choose(kind, seen, SAMPLE), ledger)  # fmt: skip
