"""Servers whose disks are volumes: booted from every kind of source, deleted, failing to boot."""

from __future__ import annotations

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.volumes import Volumes, checksum_in_ceph

pytestmark = pytest.mark.cloud

DISKS = "for d in /sys/block/vd*; do echo ${d##*/} $(cat $d/serial) $(cat $d/size); done"
CINDER_PORT = 8776
GIB = 2 * 1024**2  # sectors


@pytest.fixture
def volumes(api, garbage):
    return Volumes(api, garbage.later)


@pytest.fixture
def request_server(api, node, garbage):
    """Ask for a server with these disks; returns its id."""

    def ask(*disks, **more):
        usual = {"source_type": "blank", "delete_on_termination": True}
        mapping = [{**usual, **disk} for disk in disks]
        server = api.request_boot(
            node, imageRef="", block_device_mapping_v2=mapping, networks="none", **more
        )
        return garbage.server(server["id"])

    return ask


def volume(source, **more):
    """A disk of 1 GiB that is a volume made from ``source``."""
    return {"source_type": source, "destination_type": "volume", "volume_size": 1,
            "boot_index": -1, **more}  # fmt: skip


def snapshot_of(volumes, volume_id, later):
    body = {"snapshot": {"volume_id": volume_id, "name": "nlt-snapshot"}}
    snapshot = volumes.request("POST", "/snapshots", body)["snapshot"]["id"]

    def state():
        return volumes.request("GET", f"/snapshots/{snapshot}")["snapshot"]["status"]

    def gone():
        rows = volumes.request("GET", "/snapshots")["snapshots"]
        return all(row["id"] != snapshot for row in rows)

    def delete():
        volumes.request("DELETE", f"/snapshots/{snapshot}")
        wait_for("end of the snapshot", gone, 60)

    later(delete)
    wait_for("snapshot", lambda: state() == "available", 60)
    return snapshot


def attached(api, server_id):
    """The server's volumes by device, as Nova tells."""
    rows = api.call("GET", f"/servers/{server_id}/os-volume_attachments")["volumeAttachments"]
    return {row["device"]: row["volumeId"] for row in rows}


def attachments_of(volumes, server_id):
    """What Cinder knows of the server's attachments, completed or not."""
    return volumes.request("GET", f"/attachments?instance_id={server_id}")["attachments"]


def exists(volumes, volume_id):
    rows = volumes.request("GET", "/volumes")["volumes"]
    return any(row["id"] == volume_id for row in rows)


@pytest.mark.core
@pytest.mark.timeout(900)
def test_disks_of_every_kind(api, cloud, node, volumes, request_server, disk_flavor, garbage):
    """The guest boots from the second disk asked for and has all others under their names; what is
    to end with the server does, and the rest holds what the guest has written."""
    kept = volumes.create("ceph")
    snapshot = snapshot_of(volumes, kept, garbage.later)
    server = request_server(
        volume("blank"),
        volume("image", boot_index=0, uuid=api.image_id("tiny-agent")),
        volume("volume", uuid=kept, delete_on_termination=False, tag="data"),
        volume("snapshot", uuid=snapshot),
        {"destination_type": "local", "boot_index": -1, "guest_format": "ext4", "volume_size": 1},
        {"destination_type": "local", "boot_index": -1, "guest_format": "swap", "volume_size": 64},
        flavor=disk_flavor,
    )
    api.wait_status(server, "ACTIVE", 180)
    guest = Guest(cloud, node, server)
    devices = attached(api, server)
    assert sorted(devices) == ["/dev/vda", "/dev/vdd", "/dev/vde", "/dev/vdf"]
    assert devices["/dev/vde"] == kept
    lines = guest.ask(DISKS).splitlines()
    said = {line.split()[0]: line.split()[1:] for line in lines}
    for device, volume_id in devices.items():
        assert said[device.removeprefix("/dev/")] == [volume_id[:20], str(GIB)]
    assert said["vdb"] == [str(GIB)] and said["vdc"] == [str(64 * 2048)]
    assert len(attachments_of(volumes, server)) == 4
    written = guest.mark(kept)

    api.delete(server)
    api.wait_gone(server)
    volumes.wait(kept, "available", 0)
    assert attachments_of(volumes, server) == []
    for volume_id in set(devices.values()) - {kept}:
        wait_for("end of its volumes", lambda v=volume_id: not exists(volumes, v), 60)
    assert checksum_in_ceph(cloud, kept) == written


@pytest.mark.timeout(600)
def test_a_volume_that_cinder_refuses_ends_the_build(api, volumes, request_server):
    """The fault says what Cinder said; the server's other volume is free again."""
    kept = volumes.create("ceph")
    server = request_server(
        volume("image", boot_index=0, uuid=api.image_id("tiny-raw")),
        volume("volume", uuid=kept, delete_on_termination=False),
        volume("blank", volume_size=50000),
    )
    fault = api.wait_status(server, "ERROR", 180)["fault"]["message"]
    assert f"Build of instance {server} aborted" in fault and "exceeds" in fault.lower()
    volumes.wait(kept, "available", 0)
    assert attachments_of(volumes, server) == []


@pytest.mark.lite_only
@pytest.mark.timeout(600)
def test_cinder_is_away_for_a_while(api, cloud, node, volumes, request_server):
    """A boot and a delete wait for it, and nothing is left behind."""
    kept = volumes.create("ceph")
    log = cloud.agent_log(node)

    def waits(since):
        with log.open("rb") as file:
            file.seek(since)
            return b"trying again in" in file.read()

    with cloud.unreachable(node, CINDER_PORT):
        since = log.stat().st_size
        server = request_server(
            volume("image", boot_index=0, uuid=api.image_id("tiny-raw")),
            volume("volume", uuid=kept, delete_on_termination=False),
        )
        wait_for("the boot to wait", lambda: waits(since), 60)
        assert api.server(server)["status"] == "BUILD"
    api.wait_status(server, "ACTIVE", 120)
    (root,) = set(attached(api, server).values()) - {kept}

    with cloud.unreachable(node, CINDER_PORT):
        since = log.stat().st_size
        api.delete(server)
        wait_for("the delete to wait", lambda: waits(since), 60)
        assert volumes.get(kept)["status"] == "in-use"
    api.wait_gone(server)
    volumes.wait(kept, "available", 0)
    assert attachments_of(volumes, server) == []
    wait_for("end of the root volume", lambda: not exists(volumes, root), 60)
