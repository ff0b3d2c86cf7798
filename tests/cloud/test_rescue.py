"""Rescue and unrescue: which system boots from which disks, files, events, refusals."""

import pytest

pytestmark = pytest.mark.cloud

BOOTED = "TINY: ready"
# Sizes as the guest tells them: the flavor's root disk, and the image's own virtual size.
FLAVOR_DISK, IMAGE_DISK = 1024**3, 48234496


@pytest.fixture(scope="module")
def rescued(api, node, module_garbage):
    """A server with a config drive for the tests of this module."""
    server = api.request_boot(node, config_drive=True)["id"]
    module_garbage.server(server)
    api.wait_status(server, "ACTIVE", 180)
    api.wait_console(server, BOOTED)
    return server


def files(cloud, node, server):
    directory = cloud.nova_files(node) / "instances" / server
    return {path.name for path in directory.iterdir()}


def rescue(api, server, **how):
    api.act(server, "rescue", how or None)
    return api.wait_status(server, "RESCUE", 150)


def unrescue(api, server):
    api.act(server, "unrescue")
    return api.wait_status(server, "ACTIVE", 90)


def disks(console):
    """What the guest says of its disks: name -> bytes."""
    lines = [line.split() for line in console.splitlines() if line.startswith("TINY: disk ")]
    return {words[2]: int(words[3]) for words in lines}


@pytest.mark.core
def test_rescue_and_unrescue(api, rescued, cloud, node):
    """A copy of the server's own image boots with a password of its own; then all is as before."""
    before = files(cloud, node, rescued)
    found = rescue(api, rescued, adminPass="aBc-dEf-42")
    assert found["OS-EXT-STS:vm_state"] == "rescued"
    assert found["OS-EXT-STS:power_state"] == 1
    assert api.wait_event(rescued, "rescue", "compute_rescue_instance")["result"] == "Success"
    assert files(cloud, node, rescued) - before == {
        "disk.rescue", "disk.config.rescue", "unrescue.xml"
    }  # fmt: skip
    drive = cloud.nova_files(node) / "instances" / rescued / "disk.config.rescue"
    assert b"aBc-dEf-42" in drive.read_bytes()
    assert disks(api.wait_console(rescued, BOOTED)) == {"vda": IMAGE_DISK, "vdb": FLAVOR_DISK}

    refused = api.call("POST", f"/servers/{rescued}/action", {"reboot": {"type": "HARD"}}, ok=False)
    assert refused.status_code == 409

    assert unrescue(api, rescued)["OS-EXT-STS:vm_state"] == "active"
    assert api.wait_event(rescued, "unrescue", "compute_unrescue_instance")["result"] == "Success"
    assert files(cloud, node, rescued) == before
    console = api.wait_console(rescued, "instance known")
    assert disks(console) == {"vda": FLAVOR_DISK}


def test_an_image_that_wants_the_disks_to_keep_their_names(api, rescued, cloud, node, garbage):
    """hw_rescue_bus: the rescue disk comes last and is booted first; the agent may restart."""
    image = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2",
        hw_rescue_device="disk", hw_rescue_bus="virtio",
    )  # fmt: skip
    garbage.later(lambda: api.delete_image(image))
    rescue(api, rescued, rescue_image_ref=image)
    assert disks(api.wait_console(rescued, BOOTED)) == {"vda": FLAVOR_DISK, "vdb": IMAGE_DISK}
    xml = cloud.on(node, "virsh", "dumpxml", rescued)
    assert "<boot order='1'/>" in xml and "<boot dev=" not in xml

    unrescue(api, rescued)
    assert "rescue" not in " ".join(files(cloud, node, rescued))
    assert "disk.rescue" not in cloud.on(node, "virsh", "dumpxml", rescued)


def test_a_stopped_server_is_rescued_and_deleted(api, boot, cloud, node):
    """Nothing of a rescued server is left when it is deleted."""
    server = boot()["id"]
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF")
    rescue(api, server)
    api.delete(server)
    api.wait_gone(server)
    assert not (cloud.nova_files(node) / "instances" / server).exists()


def test_refusals(api, rescued):
    """A missing image is the user's mistake, and so is a state that does not fit."""
    missing = {"rescue_image_ref": "11111111-2222-3333-4444-555555555555"}
    assert status(api, rescued, "rescue", missing) == 400
    assert status(api, rescued, "unrescue") == 409
    assert api.server(rescued)["status"] == "ACTIVE"


@pytest.mark.lite_only
def test_an_image_that_vanished(api, rescued, garbage, cloud, node):
    """Its data are gone from Glance's store: nothing has happened to the server yet, or will."""
    image = api.upload_image(cloud.state / "images" / "tiny-fast.qcow2", "qcow2")
    garbage.later(lambda: api.delete_image(image))
    (cloud.state / "data" / "glance" / "images" / image).unlink()
    before = cloud.on(node, "virsh", "domid", rescued)
    api.act(rescued, "rescue", {"rescue_image_ref": image})
    assert api.wait_event(rescued, "rescue", "compute_rescue_instance")["result"] == "Error"
    assert api.wait_idle(rescued)["status"] == "ACTIVE"
    assert cloud.on(node, "virsh", "domid", rescued) == before
    assert "unrescue.xml" not in files(cloud, node, rescued)


def status(api, server, action, arguments=None):
    """The HTTP status of an action."""
    path = f"/servers/{server}/action"
    return api.call("POST", path, {action: arguments}, ok=False).status_code
