"""What is asked of a host while its agent is away, and what becomes of it."""

from __future__ import annotations

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

SECONDS = 60


@pytest.fixture
def volumes(api, garbage):
    return Volumes(api, garbage.later)


def mappings(cloud, volume: str) -> list[str]:
    return cloud.sql(
        f"select instance_uuid from block_device_mapping where volume_id = '{volume}' "
        "and deleted = 0"
    ).split()


def test_an_attach_whose_user_was_told_of_an_error_has_no_effect(
    api, cloud, node, boot, volumes
):
    """The message waits at the broker for longer than nova waits for the host."""
    server, volume = boot()["id"], volumes.create("ceph")
    log = cloud.agent_log(node)
    path = f"/servers/{server}/os-volume_attachments"

    cloud.agent(node).kill()
    try:
        asked = {"volumeAttachment": {"volumeId": volume}}
        answer = api.call("POST", path, asked, ok=False)
    finally:
        size = log.stat().st_size if log.exists() else 0
        cloud.restart_agent(node)

    assert answer.status_code == 500, answer.text

    def noticed() -> bool:
        with log.open(errors="replace") as file:
            file.seek(size)
            return "came after its caller had given up" in file.read()

    wait_for("the message that waited", noticed, SECONDS)
    assert mappings(cloud, volume) == []
    assert volumes.get(volume)["status"] == "available"

    volumes.attach(server, volume)
    assert mappings(cloud, volume) == [server]
    api.act(server, "shelve")
    api.wait_status(server, "SHELVED_OFFLOADED", 180)
    assert mappings(cloud, volume) == [server]
    assert volumes.get(volume)["status"] == "reserved"


def test_a_mapping_that_was_left_is_removed_by_the_next_verb(api, cloud, node, boot, volumes):
    """As an older agent, or nova-compute, has left it: nova lets nobody attach the volume."""
    server, volume = boot()["id"], volumes.create("ceph")
    cloud.sql(
        "insert into block_device_mapping (created_at, instance_uuid, source_type, "
        "destination_type, volume_id, device_name, disk_bus, device_type, delete_on_termination, "
        "no_device, deleted, uuid) values ("
        f"'2020-01-01 00:00:00', '{server}', 'volume', 'volume', '{volume}', '/dev/vdb', 'virtio', "
        "'disk', 0, 0, 0, uuid())"
    )
    assert mappings(cloud, volume) == [server]

    api.act(server, "reboot", {"type": "HARD"})
    api.wait_idle(server)

    assert mappings(cloud, volume) == []
    volumes.attach(server, volume)
