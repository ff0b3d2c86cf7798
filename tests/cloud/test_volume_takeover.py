"""A host changes its agent while servers have volumes: each goes on where the other has ended."""

from __future__ import annotations

import pytest

from tests.cloud.support.devcloud import LITE, STOCK
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import free, used_by, volume_ledgers
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]


@pytest.mark.timeout(900)
def test_there_and_back(cloud, api, node, garbage, change_agent):
    """Volumes that stock nova-compute has attached are detached by nova_lite, and the other way
    round; in between a server starts anew with volumes of both, and its data are there."""
    volumes = Volumes(api, garbage.later)
    first, second, third = (volumes.create("ceph") for _ in range(3))

    def settled(server, used=(), unused=()):
        for volume in used:
            assert volume_ledgers(cloud, api, node, volume) == used_by(server)
        for volume in unused:
            assert volume_ledgers(cloud, api, node, volume) == free()

    change_agent(STOCK)
    root = {"source_type": "image", "destination_type": "volume", "volume_size": 1,
            "boot_index": 0, "uuid": api.image_id("tiny-agent"),
            "delete_on_termination": True}  # fmt: skip
    data = {"source_type": "volume", "destination_type": "volume", "uuid": first,
            "boot_index": -1}  # fmt: skip
    server = api.request_boot(
        node, imageRef="", block_device_mapping_v2=[root, data], networks="none"
    )["id"]
    garbage.server(server)
    api.wait_status(server, "ACTIVE", 240)
    guest = Guest(cloud, node, server)
    guest.ask("echo up")
    volumes.attach(server, second)
    written = {volume: guest.mark(volume) for volume in (first, second)}

    change_agent(LITE)
    settled(server, used=(first, second))
    volumes.detach(server, first)
    volumes.attach(server, third)
    settled(server, used=(second, third), unused=(first,))
    written[third] = guest.mark(third)
    api.act(server, "reboot", {"type": "HARD"})
    api.wait_status(server, "ACTIVE", 240)
    assert guest.checksum(second) == written[second]

    change_agent(STOCK)
    settled(server, used=(second, third))
    assert guest.checksum(third) == written[third]
    for volume in (second, third):
        volumes.detach(server, volume)
    settled(server, unused=(first, second, third))

    change_agent(LITE)
    volumes.attach(server, first)
    assert guest.checksum(first) == written[first]
    api.delete(server)
    api.wait_gone(server, 150)
    settled(server, unused=(first, second, third))
