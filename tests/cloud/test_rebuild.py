"""Rebuild: new disks and a new config drive, everything else kept; states, events, failures."""

import base64
import subprocess

import pytest

pytestmark = pytest.mark.cloud

BOOTED = "TINY: ready"


@pytest.fixture(scope="module")
def rebuilt(api, node, module_garbage):
    """A server with a config drive for the tests of this module."""
    server = api.request_boot(node, config_drive=True)["id"]
    module_garbage.server(server)
    api.wait_status(server, "ACTIVE", 180)
    api.wait_console(server, BOOTED)
    return server


@pytest.fixture
def too_large(api, garbage, tmp_path):
    """An image whose size on the disk says nothing of the size of its disk."""
    path = tmp_path / "large.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "3G"]
    subprocess.run(command, check=True)
    image = api.upload_image(path, "qcow2")
    garbage.later(lambda: api.delete_image(image))
    return image


def rebuild(api, server, **changes):
    image = changes.pop("image", None) or api.image_id("tiny-fast")
    api.act(server, "rebuild", {"imageRef": image, **changes})


@pytest.mark.core
def test_rebuild_with_all_that_can_change(api, rebuilt, cloud, node):
    """Another image, name, key, password, metadata and user data; the port and its address stay."""
    before, ports = api.server(rebuilt), api.ports(rebuilt)
    script = "#!/bin/sh\necho built anew\n"
    rebuild(
        api, rebuilt, image=api.image_id("tiny"), name="nlt-renamed", hostname="nlt-renamed",
        key_name="nova-lite", adminPass="aBc-dEf-42", metadata={"colour": "green"},
        user_data=base64.b64encode(script.encode()).decode(),
    )  # fmt: skip
    found = api.wait_status(rebuilt, "ACTIVE", 150)
    event = api.wait_event(rebuilt, "rebuild", "compute_rebuild_instance")
    assert (event["result"], event["host"]) == ("Success", node)
    assert found["image"]["id"] == api.image_id("tiny")
    assert found["OS-SRV-USG:launched_at"] > before["OS-SRV-USG:launched_at"]
    assert found["addresses"] == before["addresses"]
    assert [port["id"] for port in api.ports(rebuilt)] == [port["id"] for port in ports]
    assert api.allocations(rebuilt)

    drive = (cloud.nova_files(node) / "instances" / rebuilt / "disk.config").read_bytes()
    for text in (b"aBc-dEf-42", b"green", b"nlt-renamed", b"built anew"):
        assert text in drive
    console = api.wait_console(rebuilt, BOOTED)
    assert "TINY: hostname nlt-renamed" in console
    assert "TINY: userdata ran rc=0" in console and "instance known" not in console


def test_given_ports_survive(api, node, cloud, garbage, boot):
    """A port of the user's stays one, beside one that was made: after a delete it is free."""
    given = api.create_port()
    garbage.later(lambda: api.delete_port(given["id"]))
    networks = [{"port": given["id"]}, {"uuid": api.network_id("private")}]
    server = boot(networks=networks)
    before = {port["id"]: port["fixed_ips"] for port in api.ports(server["id"])}
    assert len(before) == 2
    rebuild(api, server["id"])
    found = api.wait_status(server["id"], "ACTIVE", 150)

    assert found["addresses"] == server["addresses"]
    assert {port["id"]: port["fixed_ips"] for port in api.ports(server["id"])} == before
    api.delete(server["id"])
    api.wait_gone(server["id"])
    left = api.rest(api.network, "GET", f"/ports?id={'&id='.join(before)}")["ports"]
    assert [(port["id"], port["device_id"]) for port in left] == [(given["id"], "")]


def test_a_stopped_server_ends_stopped(api, rebuilt, cloud, node):
    """Its disk is new all the same."""
    api.act(rebuilt, "os-stop")
    api.wait_status(rebuilt, "SHUTOFF")
    rebuild(api, rebuilt)
    found = api.wait_status(rebuilt, "SHUTOFF", 120)
    assert found["image"]["id"] == api.image_id("tiny-fast")
    assert found["OS-EXT-STS:power_state"] == 4
    assert api.wait_event(rebuilt, "rebuild", "compute_rebuild_instance")["result"] == "Success"
    api.act(rebuilt, "os-start")
    api.wait_status(rebuilt, "ACTIVE")
    assert "instance known" not in api.wait_console(rebuilt, BOOTED)


def test_failures_can_be_repaired(api, rebuilt, too_large):
    """An image whose disk does not fit, a wish that cannot be granted: ERROR, then a good one."""
    rebuild(api, rebuilt, image=too_large)
    fault = failed(api, rebuilt)["fault"]
    assert too_large in fault["message"] or "flavor" in fault["message"].lower()
    rebuild(api, rebuilt, preserve_ephemeral=True)
    assert "preserv" in failed(api, rebuilt)["fault"]["message"]

    rebuild(api, rebuilt)
    api.wait_status(rebuilt, "ACTIVE", 120)
    assert api.wait_event(rebuilt, "rebuild", "compute_rebuild_instance")["result"] == "Success"


@pytest.mark.lite_only
def test_what_failed_early_has_taken_nothing(api, rebuilt, too_large, cloud, node):
    """The guest runs on, the records name the image that its disk is made from."""
    image = api.server(rebuilt)["image"]
    before = cloud.on(node, "virsh", "domid", rebuilt)
    rebuild(api, rebuilt, image=too_large)
    found = failed(api, rebuilt)
    assert found["image"] == image
    assert found["OS-EXT-STS:power_state"] == 1
    assert cloud.on(node, "virsh", "domid", rebuilt) == before
    api.act(rebuilt, "reboot", {"type": "HARD"})
    api.wait_status(rebuilt, "ACTIVE", 90)


def test_refusals(api, rebuilt, cloud, garbage):
    """What the API itself knows to be wrong: 400; a state that does not fit: 409."""
    path = cloud.state / "images" / "tiny-fast.qcow2"
    image = api.upload_image(path, "qcow2", min_disk=5)
    garbage.later(lambda: api.delete_image(image))
    assert status(api, rebuilt, image) == 400
    assert status(api, rebuilt, "11111111-2222-3333-4444-555555555555") == 400
    api.act(rebuilt, "pause")
    api.wait_status(rebuilt, "PAUSED")
    assert status(api, rebuilt, api.image_id("tiny-fast")) == 409
    api.act(rebuilt, "unpause")
    api.wait_status(rebuilt, "ACTIVE")


def failed(api, server):
    event = api.wait_event(server, "rebuild", "compute_rebuild_instance")
    assert event["result"] == "Error"
    found = api.wait_idle(server)
    assert found["status"] == "ERROR"
    return found


def status(api, server, image):
    """The HTTP status of a rebuild."""
    path = f"/servers/{server}/action"
    return api.call("POST", path, {"rebuild": {"imageRef": image}}, ok=False).status_code
