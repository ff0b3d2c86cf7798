"""Volumes come and go while their servers live: what the user, the guest and four ledgers see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import free, used_by, volume_ledgers
from tests.cloud.support.volumes import Volumes

pytestmark = pytest.mark.cloud

@pytest.fixture(scope="module")
def servers(api, node, module_garbage):
    """Two servers that boot at the same time; the first one's guest can be asked."""
    requested = [api.request_boot(node, image=image)["id"] for image in ("tiny-agent", "tiny-fast")]
    for server_id in requested:
        module_garbage.server(server_id)
    for server_id in requested:
        api.wait_status(server_id, "ACTIVE", 300)
    return requested


@pytest.fixture(scope="module")
def server(servers):
    """The server whose guest can be asked."""
    return servers[0]


@pytest.fixture(scope="module")
def other(servers):
    """The other one."""
    return servers[1]


@pytest.fixture
def volumes(api, server, garbage):
    return Volumes(api, garbage.later)


@pytest.fixture(scope="module")
def marked(api, server, guest, module_garbage):
    """A volume, and the checksum of what the guest has written on it."""
    volumes = Volumes(api, module_garbage.later)
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    checksum = guest.mark(volume)
    volumes.detach(server, volume)
    return volume, checksum


@pytest.fixture(scope="module")
def guest(cloud, node, server):
    return Guest(cloud, node, server)


def disks(guest):
    return guest.ask("ls /sys/block | grep '^[sv]d'").split()


@pytest.fixture
def ledgers(cloud, api, node):
    return lambda volume: volume_ledgers(cloud, api, node, volume)


def settle(ledgers, volume, wanted):
    """All four agree on it before long."""
    wait_for(f"volume {volume}: {wanted}, not {ledgers(volume)}",
             lambda: ledgers(volume) == wanted, 60)  # fmt: skip


@pytest.mark.core
def test_a_running_guest_gets_a_disk_and_gives_it_back(
    api, server, marked, volumes, ledgers, guest
):
    """Under the name that the API tells; what was written before is there."""
    volume, checksum = marked
    device = volumes.attach(server, volume)
    settle(ledgers, volume, used_by(server))
    seen = guest.checksum(volume)
    volumes.detach(server, volume)
    settle(ledgers, volume, free())

    assert device == "/dev/vdb"
    assert seen == checksum
    assert disks(guest) == ["vda"]
    for action in ("attach_volume", "detach_volume"):
        event = api.wait_event(server, action, f"compute_{action}")
        assert event["result"] == "Success"


def test_a_paused_guest_gets_a_disk(api, server, marked, volumes, ledgers, guest):
    """It finds it when it goes on."""
    volume, checksum = marked
    api.act(server, "pause")
    api.wait_status(server, "PAUSED")
    try:
        volumes.attach(server, volume)
        settle(ledgers, volume, used_by(server))
    finally:
        api.act(server, "unpause")
        api.wait_status(server, "ACTIVE")
    assert guest.checksum(volume) == checksum
    volumes.detach(server, volume)
    settle(ledgers, volume, free())


@pytest.mark.core
def test_a_server_that_is_off_gets_a_disk_and_starts_with_it(
    api, server, marked, volumes, ledgers, guest
):
    """And one that was taken away while it was off is not there any more."""
    volume, checksum = marked
    gone = volumes.create("ceph")
    volumes.attach(server, gone)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    volumes.attach(server, volume)
    settle(ledgers, volume, used_by(server, running=False))
    volumes.detach(server, gone)
    settle(ledgers, gone, free())
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    settle(ledgers, volume, used_by(server))
    assert guest.checksum(volume) == checksum
    assert len(disks(guest)) == 2
    volumes.detach(server, volume)
    settle(ledgers, volume, free())


def test_a_volume_is_for_one_server_and_once(api, server, marked, volumes, ledgers, other):
    """A second server, and the same one again, are refused; nothing changes by that."""
    volume, _ = marked
    volumes.attach(server, volume)

    answers = []
    for wanting in (other, server):
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"/servers/{wanting}/os-volume_attachments"
        answers.append(api.call("POST", path, body, ok=False).status_code)

    assert answers in ([400, 400], [400, 409])
    assert ledgers(volume) == used_by(server)
    volumes.detach(server, volume)
    settle(ledgers, volume, free())


def test_two_at_once_want_the_same_volume(api, server, marked, volumes, ledgers, other):
    """One gets it, the other one is refused."""
    from concurrent.futures import ThreadPoolExecutor

    volume, _ = marked
    wanting = [server, other]

    def attach(server_id):
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"/servers/{server_id}/os-volume_attachments"
        return api.call("POST", path, body, ok=False).status_code

    with ThreadPoolExecutor(2) as workers:
        codes = list(workers.map(attach, wanting))

    assert sorted(codes) == [200, 400]
    winner = wanting[codes.index(200)]
    settle(ledgers, volume, used_by(winner))
    volumes.detach(winner, volume)
    settle(ledgers, volume, free())


def test_a_tagged_volume_is_told_to_the_guest(cloud, api, server, marked, volumes):
    """And no more, once it is gone."""
    volume, _ = marked

    def said():
        return cloud.sql(
            f"select device_metadata from instance_extra where instance_uuid = '{server}'"
        )

    volumes.attach(server, volume, tag="database")
    with_it = said()
    volumes.detach(server, volume)

    assert "database" in with_it and volume in with_it
    assert volume not in said()


@pytest.mark.lite_only
def test_a_guest_that_keeps_its_disk(cloud, api, node, server, marked, volumes, ledgers):
    """The detach fails where its user sees it, the volume is in use, and can be detached later."""
    volume, _ = marked
    volumes.attach(server, volume)
    with cloud.options(node, "[libvirt]\ndevice_detach_attempts = 1\ndevice_detach_timeout = 2\n"):
        api.act(server, "pause")
        api.wait_status(server, "PAUSED")
        api.call("DELETE", f"/servers/{server}/os-volume_attachments/{volume}", ok=False)
        wait_for(
            "the failed detach",
            lambda: api.events(server, "detach_volume")[0].get("result") == "Error",
            60,
        )
        settle(ledgers, volume, used_by(server))
        api.act(server, "unpause")
        api.wait_status(server, "ACTIVE")
    volumes.detach(server, volume)
    settle(ledgers, volume, free())


@pytest.mark.lite_only
def test_a_volume_that_was_deleted_underneath(cloud, api, node, other, volumes, ledgers):
    """The start fails with a fault that names it; without it the server starts again."""
    volume = volumes.create("ceph")
    volumes.attach(other, volume)
    cloud.on(node, "virsh", "destroy", other)
    api.wait_status(other, "SHUTOFF", 120)
    cloud.run("run", "rbd", "rm", "--no-progress", f"volumes/volume-{volume}")

    api.act(other, "os-start")
    event = api.wait_event(other, "start", "compute_start_instance")
    assert event["result"] == "Error"
    assert f"volume {volume} (vdb) cannot be opened" in event["details"]
    assert api.server(other)["status"] == "SHUTOFF"
    volumes.detach(other, volume)
    assert ledgers(volume) == replace(free(), watchers=None)
    api.act(other, "os-start")
    api.wait_status(other, "ACTIVE", 120)
