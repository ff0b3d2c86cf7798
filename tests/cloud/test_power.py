"""Stop, start, reboot: states, events, and the guest's own view."""

import pytest

from tests.cloud.support.guest import console_file

pytestmark = pytest.mark.cloud


@pytest.mark.core
def test_stop_and_start(api, server, node, cloud):
    """The guest shuts down by itself, the server is SHUTOFF; start brings both back."""
    uuid = server["id"]
    api.act(uuid, "os-stop")
    stopped = api.wait_status(uuid, "SHUTOFF")
    assert stopped["OS-EXT-STS:power_state"] == 4
    assert "TINY: shutting down" in console_file(cloud, node, uuid)
    assert uuid not in cloud.on(node, "virsh", "list", "--uuid")
    assert api.wait_event(uuid, "stop", "compute_stop_instance")["result"] == "Success"

    api.act(uuid, "os-start")
    started = api.wait_status(uuid, "ACTIVE")
    assert started["OS-EXT-STS:power_state"] == 1
    assert api.wait_event(uuid, "start", "compute_start_instance")["result"] == "Success"
    api.wait_console(uuid, "instance known")
    assert uuid in cloud.on(node, "virsh", "list", "--uuid")


@pytest.mark.core
def test_soft_reboot(api, server, cloud, node):
    """The guest is asked to shut down, and boots again."""
    uuid = server["id"]
    api.wait_console(uuid, "TINY: ready")
    before = cloud.on(node, "virsh", "domid", uuid)
    api.act(uuid, "reboot", {"type": "SOFT"})
    api.wait_status(uuid, "ACTIVE", 150)
    assert api.wait_event(uuid, "reboot", "compute_reboot_instance")["result"] == "Success"
    assert cloud.on(node, "virsh", "domid", uuid) != before
    api.wait_console(uuid, "instance known")


@pytest.mark.core
def test_hard_reboot(api, server, node, cloud):
    """The guest is a new process afterwards, with the same disk and interface."""
    uuid = server["id"]
    before = cloud.on(node, "virsh", "domid", uuid)
    api.act(uuid, "reboot", {"type": "HARD"})
    found = api.wait_status(uuid, "ACTIVE", 90)
    assert cloud.on(node, "virsh", "domid", uuid) != before
    assert found["addresses"] == server["addresses"]
    assert api.wait_event(uuid, "reboot", "compute_reboot_instance")["result"] == "Success"
    api.wait_console(uuid, "instance known")


def test_hard_reboot_brings_a_stopped_server_up(api, server):
    """HARD reboot works on a stopped server."""
    uuid = server["id"]
    api.act(uuid, "os-stop")
    api.wait_status(uuid, "SHUTOFF")
    api.act(uuid, "reboot", {"type": "HARD"})
    assert api.wait_status(uuid, "ACTIVE")["OS-EXT-STS:power_state"] == 1


def test_power_off_from_inside(api, boot):
    """A guest that powers itself off becomes SHUTOFF without anybody asking."""
    server = boot(user_data="#!/bin/sh\n(sleep 2; poweroff) &\n")["id"]
    found = api.wait_status(server, "SHUTOFF", 120)
    assert found["OS-EXT-STS:power_state"] == 4
    assert found["OS-EXT-STS:vm_state"] == "stopped"
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE")


def test_a_guest_that_does_not_listen_is_stopped_all_the_same(api, boot, cloud, node, garbage):
    """A guest that ignores the power button loses its power after os_shutdown_timeout seconds."""
    image = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2", os_shutdown_timeout="10"
    )
    garbage.later(lambda: api.delete_image(image))
    server = boot(image=image, user_data="#!/bin/sh\nkillall acpid\n")["id"]
    api.wait_console(server, "TINY: userdata ran")
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    assert "TINY: shutting down" not in console_file(cloud, node, server)
