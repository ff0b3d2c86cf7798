"""Snapshots and backups: images that boot, servers that go on, nothing left half done."""

from __future__ import annotations

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

EVENT = "compute_snapshot_instance"


def image(api, image_id):
    """The image's record; None when it is gone."""
    response = api.image.request(f"/images/{image_id}", "GET", raise_exc=False)
    return response.json() if response.ok else None


def ask(api, garbage, server_id):
    """Ask for a snapshot; returns the image's id."""
    path = f"/servers/{server_id}/action"
    body = {"createImage": {"name": f"{NAME_PREFIX}-snapshot", "metadata": {"colour": "red"}}}
    image_id = api.call("POST", path, body)["image_id"]
    garbage.later(lambda: api.delete_image(image_id))
    return image_id


def wait_image(api, image_id, seconds=90):
    def look():
        found = image(api, image_id)
        assert found is not None, f"image {image_id} is gone"
        return found if found["status"] == "active" else None

    return wait_for(f"image {image_id} active", look, seconds)


def wait_settled(api, image_id, seconds=60):
    """Wait until the image is whole or gone; returns whether it is there."""
    return wait_for(
        f"end of image {image_id}",
        lambda: (found := image(api, image_id)) is None or found["status"] == "active" and found,
        seconds,
    ) is not True  # fmt: skip


def nothing_is_left(cloud, node, server_id):
    """Neither a copy in the making nor a file of one."""
    copies = cloud.nova_files(node) / "instances" / "snapshots"
    assert not copies.exists() or not list(copies.iterdir())
    if server_id in cloud.on(node, "virsh", "list", "--uuid"):
        assert "<mirror" not in cloud.on(node, "virsh", "dumpxml", server_id)


@pytest.mark.core
def test_a_snapshot_of_a_running_server_boots(api, server, boot, garbage, cloud, node):
    """The guest never stops, the image says where it comes from, and a server starts from it."""
    uuid = server["id"]
    before = cloud.on(node, "virsh", "domid", uuid)
    image_id = ask(api, garbage, uuid)
    found = wait_image(api, image_id)

    after = api.wait_idle(uuid)
    assert (after["status"], cloud.on(node, "virsh", "domid", uuid)) == ("ACTIVE", before)
    assert api.wait_event(uuid, "createImage", EVENT)["result"] == "Success"
    wanted = {
        "disk_format": "qcow2", "container_format": "bare", "image_type": "snapshot",
        "image_location": "snapshot", "image_state": "available", "instance_uuid": uuid,
        "base_image_ref": server["image"]["id"], "owner_id": server["tenant_id"],
        "user_id": server["user_id"], "min_disk": 1, "visibility": "private", "colour": "red",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    nothing_is_left(cloud, node, uuid)

    copy = boot(image=image_id)
    api.wait_console(copy["id"], "TINY: ready")


@pytest.mark.parametrize(
    ("action", "back", "status"),
    [("pause", "unpause", "PAUSED"), ("suspend", "resume", "SUSPENDED"),
     ("os-stop", "os-start", "SHUTOFF")],
)  # fmt: skip
def test_a_server_that_does_not_run_stays_as_it_is(
    api, server, garbage, cloud, node, action, back, status
):
    """Paused, suspended and stopped servers have a disk, too."""
    uuid = server["id"]
    api.act(uuid, action)
    api.wait_status(uuid, status)
    wait_image(api, ask(api, garbage, uuid))

    assert api.wait_idle(uuid)["status"] == status
    nothing_is_left(cloud, node, uuid)
    api.act(uuid, back)
    api.wait_status(uuid, "ACTIVE")


def test_backups_are_rotated(api, server, garbage, cloud, node):
    """The oldest of its kind goes when there are more than asked for."""
    uuid, made = server["id"], []
    for number in range(3):
        name = f"{NAME_PREFIX}-backup-{number}"
        kind = "weekly" if number == 0 else "daily"
        api.cli("server", "backup", "create", "--name", name, "--type", kind, "--rotate", "1",
                "--wait", uuid)  # fmt: skip
        found = api.rest(api.image, "GET", f"/images?name={name}")["images"]
        made.append(found[0]["id"])
        garbage.later(lambda image_id=made[-1]: api.delete_image(image_id))
        assert found[0]["image_type"] == "backup"
        event = api.wait_event(uuid, "createBackup", "compute_backup_instance")
        assert event["result"] == "Success"

    assert [image(api, image_id) is None for image_id in made] == [False, True, False]
    assert api.wait_idle(uuid)["status"] == "ACTIVE"
    nothing_is_left(cloud, node, uuid)


def test_an_image_deleted_meanwhile_harms_nobody(api, server, garbage, cloud, node):
    """The server is free again."""
    uuid = server["id"]
    image_id = ask(api, garbage, uuid)
    api.delete_image(image_id)

    assert api.wait_idle(uuid)["status"] == "ACTIVE"
    assert image(api, image_id) is None
    nothing_is_left(cloud, node, uuid)


def test_a_server_deleted_meanwhile_leaves_no_half_image(api, boot, garbage, cloud, node):
    """The delete is not kept waiting, and no queued image is left."""
    uuid = boot()["id"]
    image_id = ask(api, garbage, uuid)
    api.delete(uuid)
    api.wait_gone(uuid)

    wait_settled(api, image_id)
    nothing_is_left(cloud, node, uuid)


def test_file_systems_that_have_to_be_still_and_cannot(api, boot, garbage, cloud, node):
    """Without a guest agent it fails; image record and task state do not stay."""
    source = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2", os_require_quiesce="yes"
    )
    garbage.later(lambda: api.delete_image(source))
    uuid = boot(image=source)["id"]
    image_id = ask(api, garbage, uuid)

    event = api.wait_event(uuid, "createImage", EVENT)
    assert (event["result"], api.wait_idle(uuid)["status"]) == ("Error", "ACTIVE")
    wait_for("end of the image record", lambda: image(api, image_id) is None, 30)


@pytest.mark.lite_only
def test_killed_in_a_snapshot(api, server, garbage, cloud, node):
    """The agent goes on where it was: the image becomes whole."""
    uuid = server["id"]
    image_id = ask(api, garbage, uuid)
    cloud.agent(node).kill()
    cloud.restart_agent(node)

    wait_image(api, image_id)
    assert api.wait_idle(uuid)["status"] == "ACTIVE"
    assert api.wait_event(uuid, "createImage", EVENT)["result"] == "Success"
    nothing_is_left(cloud, node, uuid)
