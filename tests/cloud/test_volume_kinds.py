"""Volumes that are not just disks: encrypted, limited, read-only, shared; seen from the guest."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import in_guest
from tests.cloud.support.volumes import Volumes

pytestmark = pytest.mark.cloud

MARKER = "nobody shall read this"


@pytest.fixture(scope="module")
def servers(api, node, module_garbage):
    """Two running servers whose guests can be asked."""
    requested = [api.request_boot(node, image="tiny-agent")["id"] for _ in range(2)]
    for server_id in requested:
        module_garbage.server(server_id)
    for server_id in requested:
        api.wait_status(server_id, "ACTIVE", 180)
        api.wait_console(server_id, "TINY: qemu-ga started")
    return requested


@pytest.fixture
def volumes(api, servers, garbage):
    return Volumes(api, garbage.later)


@pytest.fixture
def run(cloud, node):
    """Run a script in the guest of a server: its output and errors."""
    return lambda server_id, script: in_guest(cloud, node, server_id, f"{{ {script}\n}} 2>&1")


def disk_of(run, server_id):
    """The guest's name of the disk that was plugged in last, once it has seen it."""
    script = "ls -t /sys/block | grep '^[sv]d' | sort | tail -1"
    return wait_for(
        "a disk in the guest",
        lambda: name if (name := run(server_id, script).strip()) not in ("", "vda") else None,
        30,
    )


def live_disk(cloud, node, server_id, volume_id):
    """The volume's <disk> of the guest as it runs."""
    root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server_id))
    return next(d for d in root.findall("devices/disk") if d.findtext("serial") == volume_id)


def secrets(cloud, node):
    return cloud.on(node, "virsh", "secret-list")


def stored(cloud, volume_id, path):
    """The first 4 MiB of a volume as they are in Ceph."""
    export = f"rbd export --no-progress volumes/volume-{volume_id} - | head -c 4194304 > {path}"
    cloud.run("run", "sh", "-c", export)
    return path.read_bytes()


def test_an_encrypted_volume_is_open_in_the_guest_only(
    cloud, node, servers, volumes, run, tmp_path
):
    """The guest reads what it wrote, also after it came back; Ceph has nothing but LUKS."""
    server_id = servers[0]
    volume_id = volumes.create("encrypted")
    volumes.attach(server_id, volume_id)
    disk = disk_of(run, server_id)
    run(server_id, f"echo '{MARKER}' > /dev/{disk}; sync")
    assert volume_id in secrets(cloud, node)
    head = stored(cloud, volume_id, tmp_path / "head")
    assert head[:4] == b"LUKS" and MARKER.encode() not in head

    volumes.detach(server_id, volume_id)
    volumes.wait(volume_id, "available", 0)
    assert volume_id not in secrets(cloud, node)

    volumes.attach(server_id, volume_id)
    assert MARKER in run(server_id, f"head -c {len(MARKER)} /dev/{disk_of(run, server_id)}")
    key = cloud.secrets().get("VOLUME_KEY", "")
    assert key and key not in cloud.agent_log(node).read_text(errors="replace")
    assert key not in cloud.on(node, "virsh", "dumpxml", server_id)


def test_limits_of_a_volume_type_hold_in_the_guest(cloud, node, servers, volumes):
    """QoS specs for the front end are limits of the running disk."""
    volume_id = volumes.create("limited")
    device = volumes.attach(servers[0], volume_id).removeprefix("/dev/")
    specs = volumes.request("GET", "/qos-specs")["qos_specs"]
    wanted = next(s["specs"] for s in specs if s["consumer"] in ("front-end", "both"))
    shown = cloud.on(node, "virsh", "-q", "blkdeviotune", servers[0], device)
    found = dict(line.split(":") for line in shown.replace(" ", "").splitlines() if ":" in line)

    assert wanted
    assert {name: found[name] for name in wanted} == wanted


def test_a_read_only_volume_cannot_be_written(cloud, node, servers, volumes, run):
    """Whatever the guest tries."""
    volume_id = volumes.create("ceph")
    body = {"os-update_readonly_flag": {"readonly": True}}
    volumes.request("POST", f"/volumes/{volume_id}/action", body)
    volumes.attach(servers[0], volume_id)
    disk = disk_of(run, servers[0])

    assert run(servers[0], f"cat /sys/block/{disk}/ro").strip() == "1"
    assert "written" not in run(servers[0], f"echo x > /dev/{disk} && sync && echo written")
    assert live_disk(cloud, node, servers[0], volume_id).find("readonly") is not None


def test_two_servers_write_to_one_volume(cloud, node, servers, volumes, run):
    """Each sees what the other wrote; the volume is free after the last detach."""
    volume_id = volumes.create("multiattach")
    for server_id in servers:
        volumes.attach(server_id, volume_id)
    assert sorted(volumes.users(volume_id)) == sorted(servers)
    names = [disk_of(run, server_id) for server_id in servers]
    for place, (server_id, disk) in enumerate(zip(servers, names, strict=True)):
        run(server_id, f"echo 'by {place}' | dd of=/dev/{disk} seek={place} conv=sync,fsync")
        assert live_disk(cloud, node, server_id, volume_id).find("shareable") is not None
    for place, (server_id, disk) in enumerate(zip(servers, names, strict=True)):
        other = 1 - place
        script = f"dd if=/dev/{disk} skip={other} count=1 iflag=direct | head -c 4"
        assert f"by {other}" in run(server_id, script)

    volumes.detach(servers[0], volume_id)
    volumes.wait(volume_id, "in-use", 1)
    assert "by 1" in run(servers[1], f"dd if=/dev/{names[1]} skip=1 count=1 iflag=direct")
    volumes.detach(servers[1], volume_id)
    volumes.wait(volume_id, "available", 0)


def test_a_tagged_volume_is_described_to_the_guest(cloud, servers, volumes):
    """With the tag and where the guest finds it, as the metadata service tells."""
    volume_id = volumes.create("ceph")
    tag = f"db{time.time_ns() % 10**6}"
    volumes.attach(servers[0], volume_id, tag=tag)
    select = "select device_metadata from instance_extra where deleted = 0 and "
    kept = cloud.sql(f"{select} instance_uuid = '{servers[0]}'")

    assert tag in kept and volume_id in kept
