"""Power verbs when something is wrong: a server always ends in a state that its user can act on.

All of this holds for stock nova-compute as well, but where a test says otherwise.
"""

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud


def refused(api, uuid, action, arguments=None):
    """HTTP status of an action that is not possible now."""
    return api.call("POST", f"/servers/{uuid}/action", {action: arguments}, ok=False).status_code


def take_away(cloud, node, uuid):
    """Somebody removes the guest behind our back."""
    cloud.on(node, "sh", "-c", f"virsh destroy {uuid}; virsh undefine {uuid}")


def ended(api, uuid, action, event):
    """How an action ended, with the server idle afterwards."""
    result = api.wait_event(uuid, action, event)["result"]
    return result, api.wait_idle(uuid)["status"]


def test_a_guest_that_vanished(api, boot, cloud, node):
    """A stop takes it for off and a start makes it anew."""
    uuid = boot()["id"]
    take_away(cloud, node, uuid)
    if refused(api, uuid, "os-stop") == 409:
        api.wait_idle(uuid)  # its end was noticed before
    api.wait_status(uuid, "SHUTOFF")

    api.act(uuid, "os-start")
    assert api.wait_status(uuid, "ACTIVE")["OS-EXT-STS:power_state"] == 1

    take_away(cloud, node, uuid)
    hard = {"reboot": {"type": "HARD"}}
    if api.call("POST", f"/servers/{uuid}/action", hard, ok=False).status_code == 409:
        api.wait_idle(uuid)  # its end was noticed before
        api.act(uuid, "reboot", {"type": "HARD"})
    assert ended(api, uuid, "reboot", "compute_reboot_instance") == ("Success", "ACTIVE")
    assert "running" in cloud.on(node, "virsh", "domstate", uuid)


def test_pausing_a_guest_that_vanished(api, boot, cloud, node):
    """It fails, and the server can be rebooted, stopped or deleted."""
    uuid = boot()["id"]
    take_away(cloud, node, uuid)
    status = api.call("POST", f"/servers/{uuid}/action", {"pause": None}, ok=False).status_code
    if status == 202:
        result, found = ended(api, uuid, "pause", "compute_pause_instance")
        assert (result, found in ("ACTIVE", "SHUTOFF")) == ("Error", True)
    else:
        assert status == 409  # its end was noticed before
    api.act(uuid, "reboot", {"type": "HARD"})
    api.wait_status(uuid, "ACTIVE")


@pytest.fixture
def own_image(api, cloud, garbage):
    """An image whose cached file no other server needs."""
    image = api.upload_image(cloud.state / "images" / "tiny-fast.qcow2", "qcow2")
    garbage.later(lambda: api.delete_image(image))
    return image


def test_a_backing_file_that_is_gone(api, boot, cloud, node, own_image):
    """It is fetched again by the next start; without the image the start fails, and says so."""
    uuid = boot(image=own_image)["id"]
    api.act(uuid, "os-stop")
    api.wait_status(uuid, "SHUTOFF")
    disk = cloud.nova_files(node) / "instances" / uuid / "disk"
    base = cloud.nova_files(node) / "instances" / "_base" / backing_name(disk)
    base.unlink()
    api.act(uuid, "os-start")
    api.wait_status(uuid, "ACTIVE")
    assert base.exists()

    api.act(uuid, "os-stop")
    api.wait_status(uuid, "SHUTOFF")
    base.unlink()
    data = cloud.state / "data" / "glance" / "images" / own_image
    content = data.read_bytes()
    data.unlink()
    api.act(uuid, "os-start")
    assert ended(api, uuid, "start", "compute_start_instance") == ("Error", "SHUTOFF")
    data.write_bytes(content)
    api.act(uuid, "os-start")
    api.wait_status(uuid, "ACTIVE")


def backing_name(disk):
    """Name of the file that a qcow2 disk is an overlay of."""
    header = disk.open("rb").read(2048)
    offset, length = int.from_bytes(header[8:16], "big"), int.from_bytes(header[16:20], "big")
    return header[offset : offset + length].decode().rpartition("/")[2]


def test_what_qemu_does_is_noticed(api, boot, cloud, node):
    """A QEMU that dies stops its server; one that an operator holds is still the user's."""
    uuid = boot()["id"]
    cloud.on(node, "virsh", "suspend", uuid)
    wait_for("power state", lambda: api.server(uuid)["OS-EXT-STS:power_state"] == 3, 60)
    assert api.wait_idle(uuid)["status"] == "ACTIVE"
    cloud.on(node, "virsh", "resume", uuid)
    wait_for("power state", lambda: api.server(uuid)["OS-EXT-STS:power_state"] == 1, 60)

    api.act(uuid, "pause")
    api.wait_status(uuid, "PAUSED")
    cloud.on(node, "virsh", "destroy", uuid)
    assert api.wait_status(uuid, "SHUTOFF")["OS-EXT-STS:power_state"] == 4


@pytest.mark.alone  # an ordinary user cannot choose a host
def test_a_locked_server_is_its_owners_no_more(api, demo, garbage, node):
    """Users get 409 on what an administrator has locked; the administrator does as he likes."""
    uuid = demo.request_boot(networks="none")["id"]
    garbage.server(uuid)
    demo.wait_status(uuid, "ACTIVE", 180)
    api.act(uuid, "lock")
    for action in ("os-stop", "pause", "suspend", "unlock"):
        assert refused(demo, uuid, action) in (403, 409)
    assert demo.call("DELETE", f"/servers/{uuid}", ok=False).status_code == 409
    api.act(uuid, "pause")
    api.wait_status(uuid, "PAUSED")
    api.act(uuid, "unlock")
    demo.act(uuid, "unpause")
    demo.wait_status(uuid, "ACTIVE")
