"""Storage that fails: a host with a wrong key, or one that Ceph cannot be reached from.

Ceph itself goes on: the host under test is cut off from it by packet filter rules of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import boot_with_agent, in_guest
from tests.cloud.support.volumes import Volumes, mapping_texts

pytestmark = pytest.mark.cloud

# Ceph's ports: monitors (both protocols), then all other daemons.
RULE = "OUTPUT -o lo -p tcp -m multiport --dports 3300,6789,6800:6900 -j".split()


@pytest.fixture(scope="module")
def server_id(api, node, module_garbage):
    """A running server whose guest can be asked."""
    return boot_with_agent(api, node, module_garbage)["id"]


@pytest.fixture
def volumes(api, server_id, garbage):
    return Volumes(api, garbage.later)


@pytest.fixture(scope="module")
def volume_id(api, module_garbage):
    """A volume that nobody has before and after each test."""
    return Volumes(api, module_garbage.later).create("ceph")


@contextmanager
def cut_off(cloud, node, *how: str) -> Iterator[None]:
    """The host does not reach Ceph. REJECT: as if it were stopped; DROP: as if a cable were cut."""
    cloud.on(node, "iptables", "-I", *RULE, *how)
    try:
        yield
    finally:
        cloud.on(node, "iptables", "-D", *RULE, *how)


def refused(api, volumes, server_id, volume_id) -> str:
    """Ask for an attachment that must fail, and leave everything as it was; returns the reason."""
    body = {"volumeAttachment": {"volumeId": volume_id}}
    api.call("POST", f"/servers/{server_id}/os-volume_attachments", body)
    event = api.wait_event(server_id, "attach_volume", "compute_attach_volume")
    assert event["result"] == "Error"
    volumes.wait(volume_id, "available", attachments=0)
    assert mapping_texts(api, server_id) == []
    server = api.server(server_id)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    return str(event["details"])


def guests_disks(cloud, node, server_id) -> str:
    return cloud.on(node, "virsh", "domblklist", server_id)


def test_a_wrong_key_of_ceph_on_the_host(cloud, api, node, server_id, volumes, volume_id):
    """The user gets an error and his volume back; with the right key all is well."""
    secret = cloud.secrets()["CEPH_ID"].strip("'\"")
    key = cloud.on(node, "virsh", "secret-get-value", secret).strip()
    wrong = "AQ" + key[2:-6][::-1] + key[-6:]
    cloud.on(node, "virsh", "secret-set-value", secret, wrong)
    try:
        said = refused(api, volumes, server_id, volume_id)
    finally:
        cloud.on(node, "virsh", "secret-set-value", secret, key)
    assert volume_id in said
    assert key not in said and wrong not in said
    assert volume_id not in guests_disks(cloud, node, server_id)

    volumes.attach(server_id, volume_id)


@pytest.mark.lite_only
def test_ceph_is_stopped_when_a_volume_is_to_be_attached(
    cloud, api, node, server_id, volumes, volume_id
):
    """Said at once: QEMU would stand still while it waits."""
    with cut_off(cloud, node, "REJECT", "--reject-with", "tcp-reset"):
        said = refused(api, volumes, server_id, volume_id)
        assert in_guest(cloud, node, server_id, "echo alive").strip() == "alive"

    assert "no monitor of its Ceph cluster can be reached" in said
    volumes.attach(server_id, volume_id)


def test_ceph_is_out_of_reach_while_a_guest_writes(
    cloud, api, node, server_id, volumes, volume_id
):
    """The guest's write waits, and goes on when Ceph is back; nothing is lost."""
    volumes.attach(server_id, volume_id)
    disk = wait_for(
        "the disk in the guest",
        lambda: in_guest(cloud, node, server_id,
                         "ls /sys/block | grep '^[sv]d' | grep -v vda | head -1").strip(),
        30,
    )  # fmt: skip

    with cut_off(cloud, node, "DROP"):
        write = f"dd if=/dev/zero of=/dev/{disk} bs=1M count=4 oflag=direct && sync; touch /done"
        in_guest(cloud, node, server_id, f"rm -f /done; ({write}) >/dev/null 2>&1 &")
        for _ in range(3):
            assert in_guest(cloud, node, server_id, "ls /done 2>/dev/null; true").strip() == ""
        assert api.server(server_id)["status"] == "ACTIVE"

    wait_for(
        "the end of the write",
        lambda: in_guest(cloud, node, server_id, "ls /done 2>/dev/null; true").strip() == "/done",
        90,
    )
    assert volumes.get(volume_id)["status"] == "in-use"


@pytest.mark.lite_only
def test_a_kind_of_volume_that_this_host_does_not_know(
    cloud, api, node, server_id, volumes, volume_id
):
    """A start says which; when Cinder's answer is put right the server starts."""
    volumes.attach(server_id, volume_id)

    def kind(old: str, new: str) -> None:
        cloud.sql(
            "update block_device_mapping set connection_info = replace(connection_info, "
            f'\'"driver_volume_type": "{old}"\', \'"driver_volume_type": "{new}"\') '
            f"where deleted = 0 and volume_id = '{volume_id}'"
        )

    api.act(server_id, "os-stop")
    api.wait_status(server_id, "SHUTOFF")
    kind("rbd", "drbd")
    try:
        api.act(server_id, "os-start")
        event = api.wait_event(server_id, "start", "compute_start_instance")
        server = api.wait_idle(server_id)
    finally:
        kind("drbd", "rbd")
    assert event["result"] == "Error"
    assert "'drbd'" in event["details"]
    assert server["status"] in ("SHUTOFF", "ERROR")

    api.act(server_id, "reboot", {"type": "HARD"})
    api.wait_status(server_id, "ACTIVE", 120)
    assert volume_id in mapping_texts(api, server_id)[0]["serial"]
