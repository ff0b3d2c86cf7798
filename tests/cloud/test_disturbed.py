"""What the agent depends on goes away in the middle of its work, and comes back."""

import time

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

SERVERS = 3
AWAY = 3.0  # seconds


@pytest.fixture
def booting(api, node, garbage):
    """Servers that are being built on the host under test."""
    ids = [api.request_boot(node)["id"] for _ in range(SERVERS)]
    for server in ids:
        garbage.server(server)
    states = {"networking", "block_device_mapping", "spawning"}
    wait_for(
        "a boot on the host",
        lambda: any(api.server(s)["OS-EXT-STS:task_state"] in states for s in ids),
        60,
        pause=0.05,
    )
    return ids


def test_libvirtd_dies_during_boots(api, cloud, node, booting):
    """Killed and started again: every server is built, and obeys."""
    cloud.process(f"{node}-libvirtd").kill()
    time.sleep(AWAY)
    cloud.run("node", node, "up")

    for server in booting:
        api.wait_status(server, "ACTIVE", 180)
    api.act(booting[0], "os-stop")
    api.wait_status(booting[0], "SHUTOFF")


@pytest.mark.core
def test_the_control_plane_is_cut_off_during_boots(api, cloud, node, booting):
    """Broker, Neutron, Glance and Placement at once: every server is built, and the host is up."""
    cloud.process(f"proxy-{node}").kill()
    time.sleep(AWAY)
    cloud.run("node", node, "up")

    for server in booting:
        api.wait_status(server, "ACTIVE", 240)
    path = f"/os-services?host={node}&binary=nova-compute"
    wait_for(
        "the host up again", lambda: api.call("GET", path)["services"][0]["state"] == "up", 60
    )
