"""Moves between cells: disk, volume, port and allocations arrive, and come back.

``SECOND_CELL=yes devstack/cloud up`` makes a second cell, with node4 in it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import DevCloud, wait_for
from tests.cloud.support.guest import Guest, boot_with_agent
from tests.cloud.support.ledgers import used_by, volume_ledgers
from tests.cloud.support.moves import SECONDS
from tests.cloud.support.volumes import Volumes, checksum_in_ceph

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1800)]

DATABASES = ("nova_cell1", "nova_cell2")
RECORDS = "select count(*) from instances where uuid = '{}' and deleted = 0"


@pytest.fixture(scope="module")
def cells(cloud: DevCloud, node: str) -> tuple[str, str]:
    """(the host under test, one in another cell)."""
    for other in cloud.nodes():
        if cloud.database(other) != cloud.database(node):
            return node, other
    pytest.skip(
        f"no host of this run is in another cell than {node}: SECOND_CELL=yes devstack/cloud up "
        "makes a second one, with node4 in it"
    )


@pytest.fixture
def ways(cells: tuple[str, str], request: Any) -> tuple[str, str]:
    """(old host, new host): each cell is the old one in turn."""
    return cells if request.param == "there" else cells[::-1]


def only_in(cloud: DevCloud, server: str, host: str) -> None:
    """See that the cell of that host has the server's only record, and users see it."""
    mine = cloud.database(host)
    records = {name: int(cloud.sql(RECORDS.format(server), name)) for name in DATABASES}
    assert records == {name: int(name == mine) for name in DATABASES}
    hidden = cloud.sql(f"select hidden from instances where uuid = '{server}'", mine)
    assert hidden.strip() == "0"


def snapshots(api: Api, name: str) -> list[str]:
    """Images that nova-conductor has made of a server on its way."""
    listed = api.rest(api.image, "GET", f"/images?name={name}-resize-temp")["images"]
    return [image["id"] for image in listed]


@pytest.mark.parametrize(
    ("ways", "root", "resized"),
    [("there", "image", False), ("back", "image", True), ("there", "volume", False)],
    ids=["migrated", "resized, from the second cell", "boots from a volume"],
    indirect=["ways"],
)
def test_a_server_goes_to_another_cell(cloud, api, moves, ways, garbage, root, resized):
    """And back, and there again to stay, with its data, its volume, its port and addresses. No cell
    but one knows it in the end, and nothing of it is left in between."""
    old, new = ways
    volumes = Volumes(api, garbage.later)
    if root == "volume":
        source = volumes.create("ceph", imageRef=api.image_id("tiny-agent"))
        disk = {"uuid": source, "source_type": "volume", "destination_type": "volume",
                "boot_index": 0}  # fmt: skip
        server = garbage.server(
            api.request_boot(old, imageRef="", block_device_mapping_v2=[disk])["id"]
        )
        api.wait_status(server, "ACTIVE", 300)
    else:
        server = boot_with_agent(api, old, garbage)["id"]
    name = api.server(server)["name"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    (port,) = api.ports(server)
    content = moves.mark(old, server), Guest(cloud, old, server).mark(volume)

    def look(host: str) -> None:
        assert moves.vcpus(host, server) == moves.sizes(server)["vcpus"]
        assert moves.checksum(host, server) == content[0]
        assert Guest(cloud, host, server).checksum(volume) == content[1]
        (found,) = api.ports(server)
        assert (found["id"], found["fixed_ips"]) == (port["id"], port["fixed_ips"])
        assert found["binding:host_id"] == host
        wait_for("the port", lambda: api.ports(server)[0]["status"] == "ACTIVE", 60)
        if api.server(server)["status"] == "VERIFY_RESIZE":
            return  # until then both hosts have an attachment
        assert volume_ledgers(cloud, api, host, volume) == used_by(server)
        only_in(cloud, server, host)
        assert snapshots(api, name) == []

    flavor = moves.flavor(garbage.later, new, vcpus=2) if resized else None
    moves.there_and_back(server, ways, look, flavor, kept="uuid")

    api.delete(server)
    api.wait_gone(server)
    assert checksum_in_ceph(cloud, volume) == content[1]


@pytest.mark.parametrize("ways", ["there"], indirect=True)
def test_the_command_line_moves_a_stopped_server(cloud, api, moves, ways, garbage):
    """``openstack server migrate`` and ``resize``: it is off all the time."""
    old, new = ways
    server = boot_with_agent(api, old, garbage)["id"]
    content = moves.mark(old, server)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)

    for verb, host in (("revert", old), ("confirm", new)):
        api.cli("server", "migrate", "--host", new, server)
        moves.wait_moved(server)
        moves.waits(server, old, new, running=False, kept="uuid")
        api.cli("server", "resize", verb, server)
        api.wait_status(server, "SHUTOFF", SECONDS)
        moves.settled(server, host, running=False)
        only_in(cloud, server, host)

    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    assert moves.checksum(new, server) == content


@pytest.mark.parametrize("ways", ["there"], indirect=True)
def test_a_server_that_waits_in_another_cell_is_deleted(cloud, api, moves, ways, garbage):
    """Nothing of it is left in either cell."""
    old, new = ways
    server = garbage.server(api.request_boot(old)["id"])
    api.wait_status(server, "ACTIVE", 180)
    moves.migrate(server, new)
    moves.wait_moved(server)

    moves.delete_waiting(server)
    for database in DATABASES:
        assert cloud.sql(RECORDS.format(server), database).strip() == "0"
