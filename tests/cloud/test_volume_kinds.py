"""Volumes that are not just disks: encrypted, limited, read-only, shared; seen from the guest."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import Guest, in_guest
from tests.cloud.support.ledgers import serials, watchers
from tests.cloud.support.volumes import Volumes

pytestmark = pytest.mark.cloud

MARKER = "nobody shall read this"


@pytest.fixture(scope="module")
def hosts(cloud, node, api, module_garbage):
    """Two running servers whose guests can be asked, and where: here and on another host."""
    hosts = {}
    for host in (node, cloud.other_node(node)):
        server_id = api.request_boot(host, image="tiny-agent")["id"]
        hosts[module_garbage.server(server_id)] = host
    for server_id in hosts:
        api.wait_status(server_id, "ACTIVE", 180)
        api.wait_console(server_id, "TINY: qemu-ga started")
    return hosts


@pytest.fixture(scope="module")
def servers(hosts):
    """The servers alone; the first one is on the host under test."""
    return list(hosts)


@pytest.fixture
def volumes(api, servers, garbage):
    return Volumes(api, garbage.later)


@pytest.fixture
def run(cloud, hosts):
    """Run a script in the guest of a server: its output and errors."""
    return lambda server_id, script: in_guest(
        cloud, hosts[server_id], server_id, f"{{ {script}\n}} 2>&1"
    )


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


def forget_secret(cloud, node, volume_id):
    """As on a host that was installed anew."""
    (line,) = (line for line in secrets(cloud, node).splitlines() if volume_id in line)
    cloud.on(node, "virsh", "secret-undefine", line.split()[0])


def assert_key_unknown(cloud, node, server_id):
    """Neither the log, nor the journal, nor the guest's definition tells what opens volumes."""
    key = cloud.secrets()["VOLUME_KEY"]
    journal = (cloud.nova_files(node) / "nova-lite" / "journal").rglob("*")
    for path in (cloud.agent_log(node), *(path for path in journal if path.is_file())):
        assert key not in path.read_text(errors="replace")
    for options in ((), ("--inactive",), ("--security-info",)):
        assert key not in cloud.on(node, "virsh", "dumpxml", server_id, *options)


@pytest.mark.core
def test_an_encrypted_volume_is_open_in_the_guest_only(
    api, cloud, node, servers, volumes, run, tmp_path
):
    """Ceph has nothing but LUKS; the guest reads what it wrote, also after its host has forgotten
    the secret."""
    server_id = servers[0]
    volume_id = volumes.create("encrypted")
    volumes.attach(server_id, volume_id)
    disk = disk_of(run, server_id)
    run(server_id, f"echo '{MARKER}' > /dev/{disk}; sync")
    head = stored(cloud, volume_id, tmp_path / "head")
    assert head[:4] == b"LUKS" and MARKER.encode() not in head

    forget_secret(cloud, node, volume_id)
    api.act(server_id, "reboot", {"type": "HARD"})
    api.wait_status(server_id, "ACTIVE", 180)
    assert volume_id in secrets(cloud, node)
    read = f"head -c {len(MARKER)} /dev/$(ls /sys/block | grep '^[sv]d' | sort | tail -1)"
    assert MARKER in Guest(cloud, node, server_id).ask(read)
    assert_key_unknown(cloud, node, server_id)

    volumes.detach(server_id, volume_id)
    volumes.wait(volume_id, "available", 0)
    assert volume_id not in secrets(cloud, node)


def test_a_server_boots_from_an_encrypted_volume(api, cloud, node, garbage):
    """Again and again; with its end the host forgets the secret."""
    volume_id = Volumes(api, garbage.later).create("encrypted", imageRef=api.image_id("tiny-agent"))
    root = {"source_type": "volume", "destination_type": "volume", "boot_index": 0,
            "uuid": volume_id}  # fmt: skip
    server_id = api.request_boot(node, imageRef="", block_device_mapping_v2=[root])["id"]
    garbage.later(lambda: wait_for("no secret", lambda: volume_id not in secrets(cloud, node), 30))
    garbage.server(server_id)
    api.wait_status(server_id, "ACTIVE", 300)
    guest = Guest(cloud, node, server_id)
    guest.ask("echo up")
    for action, value, status in (
        ("os-stop", None, "SHUTOFF"), ("os-start", None, "ACTIVE"), ("reboot", {"type": "HARD"}, "")
    ):  # fmt: skip
        if action == "reboot":
            forget_secret(cloud, node, volume_id)
        api.act(server_id, action, value)
        api.wait_status(server_id, status or "ACTIVE", 180)
        assert volume_id in secrets(cloud, node)
    guest.ask("echo up")
    assert_key_unknown(cloud, node, server_id)


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


def test_servers_on_two_hosts_write_to_one_volume(cloud, hosts, servers, volumes, run):
    """Each sees what the other wrote; whoever goes first, the other keeps it; then it is free."""
    volume_id = volumes.create("multiattach")
    for leaver, keeper in (servers, servers[::-1]):
        for server_id in servers:
            volumes.attach(server_id, volume_id)
        assert sorted(volumes.users(volume_id)) == sorted(servers)
        disks = {server_id: disk_of(run, server_id) for server_id in servers}
        write = "echo 'by {0}' | dd of=/dev/{1} seek={0} conv=sync,fsync"
        read = "dd if=/dev/{1} skip={0} count=1 iflag=direct | head -c 4"
        for place, (server_id, disk) in enumerate(disks.items()):
            run(server_id, write.format(place, disk))
            plugged = live_disk(cloud, hosts[server_id], server_id, volume_id)
            assert plugged.find("shareable") is not None
        for place, (server_id, disk) in enumerate(disks.items()):
            assert f"by {1 - place}" in run(server_id, read.format(1 - place, disk))

        volumes.detach(leaver, volume_id)
        volumes.wait(volume_id, "in-use", 1)
        assert volume_id not in serials(cloud, hosts[leaver], leaver, "--inactive")
        own = servers.index(keeper)
        assert f"by {own}" in run(keeper, read.format(own, disks[keeper]))
        assert watchers(cloud, volume_id) == 1
        volumes.detach(keeper, volume_id)
        volumes.wait(volume_id, "available", 0)
        assert watchers(cloud, volume_id) == 0
