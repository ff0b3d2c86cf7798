"""Local disks in Ceph ([libvirt]images_type=rbd): clones and copies of images, every verb, rooms.

The image tiny-raw is in Ceph, tiny-fast in files.
"""

import json

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900)]

BOOTED = "TINY: disk vda"  # the rest of a boot is slow and tells nothing of disks
GIB = 1024**3


def rbd(cloud, *arguments):
    return cloud.run("run", "rbd", *arguments)


def images(cloud, server=""):
    """Images of local disks, of one server or of all."""
    return {name for name in rbd(cloud, "ls", "vms").split() if name.startswith(server)}


def info(cloud, image):
    return json.loads(rbd(cloud, "info", "--format", "json", image))


@pytest.fixture(scope="module", autouse=True)
def on_ceph(cloud, node):
    """The host keeps its disks in Ceph while these tests run."""
    with cloud.options(node, "[libvirt]\nimages_type = rbd"):
        yield


@pytest.fixture(scope="module")
def server(api, node, on_ceph, module_garbage):
    """A server with a config drive, made of an image that is in Ceph."""
    server = api.request_boot(node, image="tiny-raw", config_drive=True)["id"]
    module_garbage.server(server)
    api.wait_status(server, "ACTIVE", 180)
    api.wait_console(server, BOOTED)
    return server


@pytest.mark.core
def test_an_image_in_ceph_becomes_a_disk_as_a_clone(api, cloud, node, server):
    """Nothing is copied: the disk has the image as its parent, and the flavor's size."""
    assert images(cloud, server) == {f"{server}_disk", f"{server}_disk.config"}
    disk = info(cloud, f"vms/{server}_disk")
    assert disk["size"] == GIB
    assert (disk["parent"]["pool"], disk["parent"]["image"]) == ("images", api.image_id("tiny-raw"))
    xml = cloud.on(node, "virsh", "dumpxml", server)
    assert f"name='vms/{server}_disk'" in xml and "<secret type='ceph'" in xml


def test_stop_and_start(api, cloud, server):
    """Only a guest that is on has the disk open."""
    assert "watcher=" in rbd(cloud, "status", f"vms/{server}_disk")
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    assert "watcher=" not in rbd(cloud, "status", f"vms/{server}_disk")
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)


def test_a_snapshot_is_made_in_ceph(api, cloud, server, garbage):
    """No byte passes through the host, and the image needs nothing of the server."""
    image = api.call("POST", f"/servers/{server}/action", {"createImage": {"name": "nlt-rbd"}})
    garbage.later(lambda: api.delete_image(image["image_id"]))
    api.wait_idle(server)
    record = api.rest(api.image, "GET", f"/images/{image['image_id']}")
    assert record["status"] == "active"
    assert (record["disk_format"], record["stores"]) == ("raw", "rbd")
    made = info(cloud, f"images/{image['image_id']}")
    assert made["size"] == GIB and "parent" not in made
    assert rbd(cloud, "snap", "ls", "--all", f"vms/{server}_disk").strip() == ""


def test_rescue_and_unrescue(api, cloud, server):
    """The rescue disk is an image beside the others, and gone afterwards."""
    before = images(cloud, server)
    api.act(server, "rescue")
    api.wait_status(server, "RESCUE", 150)
    added = {f"{server}_disk.rescue", f"{server}_disk.config.rescue"}
    assert images(cloud, server) - before == added
    api.wait_console(server, BOOTED)
    api.act(server, "unrescue")
    api.wait_status(server, "ACTIVE", 120)
    assert images(cloud, server) == before


def test_shelve_and_unshelve(api, cloud, node, server):
    """A shelved server has no disk; the new one does not need the snapshot, which is deleted."""
    kept = set(rbd(cloud, "ls", "images").split())
    api.act(server, "shelve")
    api.wait_status(server, ("SHELVED", "SHELVED_OFFLOADED"), 150)
    if api.server(server)["status"] == "SHELVED":
        api.act(server, "shelveOffload")
        api.wait_status(server, "SHELVED_OFFLOADED", 120)
    assert images(cloud, server) == set()
    response = api.compute.request(
        f"/servers/{server}/action", "POST", json={"unshelve": {"host": node}},
        microversion="2.96", raise_exc=False,
    )  # fmt: skip
    assert response.ok, response.text
    api.wait_status(server, "ACTIVE", 180)
    assert "parent" not in info(cloud, f"vms/{server}_disk")
    wait_for("end of the snapshot", lambda: set(rbd(cloud, "ls", "images").split()) <= kept, 30)


def test_a_rebuild_copies_an_image_from_elsewhere(api, cloud, server):
    """An image that is not in Ceph, or not raw, is fetched and put there."""
    api.act(server, "rebuild", {"imageRef": api.image_id("tiny-fast")})
    api.wait_status(server, "ACTIVE", 180)
    disk = info(cloud, f"vms/{server}_disk")
    assert disk["size"] == GIB and "parent" not in disk
    api.wait_console(server, BOOTED)


@pytest.mark.lite_only
def test_an_agent_that_is_killed_while_it_boots_and_deletes_a_server(api, cloud, node, garbage):
    """The next one goes on: no half of a disk is used, and nothing is left behind."""
    before = images(cloud)
    victim = api.request_boot(node, image="tiny-fast", config_drive=True)["id"]
    garbage.server(victim)
    wait_for("the first image", lambda: images(cloud, victim), 180, pause=0.05)
    cloud.agent(node).kill()
    cloud.restart_agent(node)
    api.wait_status(victim, "ACTIVE", 180)
    assert images(cloud, victim) == {f"{victim}_disk", f"{victim}_disk.config"}
    api.wait_console(victim, BOOTED)

    api.delete(victim)
    guests = ("virsh", "list", "--uuid")
    wait_for("the end of its guest", lambda: victim not in cloud.on(node, *guests), 120, pause=0.05)
    cloud.agent(node).kill()
    cloud.restart_agent(node)
    api.wait_gone(victim, 180)
    assert images(cloud) == before


def test_the_room_is_that_of_the_cluster(api, cloud, node):
    """Placement is told of Ceph's disks."""
    total = json.loads(cloud.run("run", "ceph", "df", "--format", "json"))["stats"]["total_bytes"]
    path = f"/resource_providers/{cloud.provider(node)}/inventories"
    assert api.placement_get(path)["inventories"]["DISK_GB"]["total"] == total // GIB


@pytest.mark.core
def test_delete_leaves_nothing(api, cloud, server):
    """Neither a disk nor what it was made as."""
    assert images(cloud, server)
    api.delete(server)
    api.wait_gone(server, 180)
    assert not images(cloud, server)
