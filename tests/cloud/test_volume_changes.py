"""Volumes that change while a guest uses them: they grow, and move to other storage."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import in_guest
from tests.cloud.support.volumes import Volumes, mapping_texts

pytestmark = pytest.mark.cloud

MOVED_S = 120
POOLS = {"ceph": "volumes/", "ceph2": "volumes2/"}
# Seconds after the host was asked for the move at which its agent is killed.
KILLS = {"at once": 0.0, "early": 0.5, "late": 1.5}


@pytest.fixture(scope="module")
def server_id(api, node, module_garbage):
    """A running server whose guest can be asked."""
    server = api.request_boot(node, image="tiny-agent")["id"]
    module_garbage.server(server)
    api.wait_status(server, "ACTIVE", 180)
    api.wait_console(server, "TINY: qemu-ga started")
    return server


@pytest.fixture(scope="module")
def volumes(api, server_id, module_garbage):
    return Volumes(api, module_garbage.later)


@pytest.fixture(scope="module")
def volume_id(volumes, server_id):
    """A volume in Ceph that the server uses."""
    volume_id = volumes.create("ceph")
    volumes.attach(server_id, volume_id)
    return volume_id


@pytest.fixture(scope="module")
def run(cloud, node, server_id):
    """Output of a script in the guest."""
    return lambda script: in_guest(cloud, node, server_id, f"{{ {script}\n}} 2>&1").strip()


@pytest.fixture(scope="module")
def disk(volume_id, run):
    """The guest's name of the volume."""
    name = wait_for("the disk in the guest", lambda: run("ls /sys/block | grep '^vdb$'"), 30)
    return f"/dev/{name}"


def places(cloud, node, server_id, volume_id):
    """Where the guest's disk is, now and at its next start."""
    found = []
    for way in ([], ["--inactive"]):
        root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server_id, *way))
        disks = root.findall("devices/disk")
        mine = next(d for d in disks if d.findtext("serial") == volume_id)
        found.append(mine.find("source").get("name"))
    return found


def retype(volumes, volume_id, kind):
    body = {"os-retype": {"new_type": kind, "migration_policy": "on-demand"}}
    volumes.request("POST", f"/volumes/{volume_id}/action", body)


def moved(volumes, volume_id, kind):
    """Until Cinder says that it is over."""

    def look():
        volume = volumes.get(volume_id)
        return volume["status"] == "in-use" and volume["migration_status"] in ("success", "error")

    wait_for(f"volume {volume_id} in {kind}", look, MOVED_S)
    return volumes.get(volume_id)


def agreed(api, cloud, node, volumes, server_id, volume_id, kind):
    """Cinder, Nova, the guest and Ceph tell the same of the volume."""
    volume = volumes.get(volume_id)
    assert (volume["status"], volume["volume_type"]) == ("in-use", kind)
    (attachment,) = volume["attachments"]
    assert attachment["server_id"] == server_id
    (kept,) = mapping_texts(api, server_id)
    name = kept["data"]["name"]
    assert name.startswith(POOLS[kind]) and kept["serial"] == kept["volume_id"] == volume_id
    assert places(cloud, node, server_id, volume_id) == [name, name]
    (row,) = cloud.sql(
        "select volume_id, attachment_id from block_device_mapping where deleted = 0 and "
        f"destination_type = 'volume' and instance_uuid = '{server_id}'"
    ).splitlines()
    assert row.split() == [volume_id, attachment["attachment_id"]]
    reserved = volumes.request("GET", f"/attachments?volume_id={volume_id}")["attachments"]
    assert [a["id"] for a in reserved] == [attachment["attachment_id"]]
    assert "watcher=" in cloud.run("run", "rbd", "status", name)
    other = {"ceph": "volumes2", "ceph2": "volumes"}[kind]
    wait_for("the old storage to go", lambda: name.partition("-")[2] not in
             cloud.run("run", "rbd", "ls", other), 60)  # fmt: skip


@pytest.fixture
def writing(run, disk):
    """The guest writes all the time; the checksum of what it wrote before must stay."""
    run(f"dd if=/dev/urandom of={disk} bs=1M count=4 conv=fsync")
    checksum = run(f"dd if={disk} bs=1M count=4 2>/dev/null | md5sum")
    loop = (
        "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i | "
        f"dd of={disk} bs=512 seek=100000 conv=fsync; echo $i >/tmp/last; done"
    )
    # A shell of its own: it keeps nothing open that the agent in the guest would wait for.
    run(f"rm -f /tmp/stop; sh -c '{loop}' </dev/null >/dev/null 2>&1 &")
    yield lambda: run(
        f"touch /tmp/stop; sleep 1; echo 3 > /proc/sys/vm/drop_caches; [ $(cat /tmp/last) = "
        f"$(dd if={disk} bs=512 skip=100000 count=1 2>/dev/null | head -1) ] && "
        f"dd if={disk} bs=1M count=4 2>/dev/null | md5sum"
    ) == checksum
    run("touch /tmp/stop")


def test_a_guest_sees_at_once_that_its_volume_has_grown(
    api, cloud, node, server_id, volume_id, volumes, run, disk
):
    """And Nova keeps the size."""
    sectors = f"cat /sys/block/{disk.removeprefix('/dev/')}/size"
    assert run(sectors) == str(1024**3 // 512)

    body = {"os-extend": {"new_size": 2}}
    volumes.request("POST", f"/volumes/{volume_id}/action", body)

    wait_for("the new size in the guest", lambda: run(sectors) == str(2 * 1024**3 // 512), 60)
    assert api.call("GET", f"/servers/{server_id}/os-instance-actions")["instanceActions"][0][
        "action"] == "extend_volume"  # fmt: skip
    kept = cloud.sql(
        f"select volume_size from block_device_mapping where deleted=0 and volume_id='{volume_id}'"
    )
    assert kept.strip() == "2"


def test_a_volume_moves_to_other_storage_under_the_guests_writes(
    api, cloud, node, server_id, volume_id, volumes, run, disk, writing
):
    """A retype with migration: nothing that was written is lost, and all ledgers agree."""
    retype(volumes, volume_id, "ceph2")
    assert moved(volumes, volume_id, "ceph2")["migration_status"] == "success"

    assert writing()
    agreed(api, cloud, node, volumes, server_id, volume_id, "ceph2")
    action = api.call("GET", f"/servers/{server_id}/os-instance-actions")["instanceActions"][0]
    assert action["action"] == "swap_volume"


@pytest.mark.lite_only
@pytest.mark.parametrize("when", KILLS)
def test_a_move_survives_the_death_of_the_agent(
    api, cloud, node, server_id, volume_id, volumes, run, disk, writing, when
):
    """kill -9 while QEMU copies, and around it."""
    kind = {"ceph": "ceph2", "ceph2": "ceph"}[volumes.get(volume_id)["volume_type"]]
    path = f"/servers/{server_id}/os-instance-actions"
    before = len(api.call("GET", path)["instanceActions"])
    retype(volumes, volume_id, kind)
    wait_for("the swap", lambda: len(api.call("GET", path)["instanceActions"]) > before, 60, 0.05)
    time.sleep(KILLS[when])
    cloud.agent(node).kill()
    cloud.restart_agent(node)

    assert moved(volumes, volume_id, kind)["migration_status"] == "success"
    assert writing()
    agreed(api, cloud, node, volumes, server_id, volume_id, kind)


@pytest.mark.lite_only
def test_only_cinder_may_ask_for_a_swap(
    api, cloud, node, server_id, volume_id, volumes, garbage
):
    """The API refuses it, or the host: of a volume that has migrated before, the API does not."""
    other = Volumes(api, garbage.later).create("ceph", size=2)
    kind = volumes.get(volume_id)["volume_type"]
    body = {"volumeAttachment": {"volumeId": other}}
    path = f"/servers/{server_id}/os-volume_attachments/{volume_id}"

    assert api.call("PUT", path, body, ok=False).status_code in (202, 409)
    volumes.wait(other, "available")
    volumes.wait(volume_id, "in-use")
    agreed(api, cloud, node, volumes, server_id, volume_id, kind)


@pytest.mark.lite_only
def test_use_of_volumes_is_reported(cloud, node, server_id, volume_id, run, disk):
    """With volume_usage_poll_interval, what the guest wrote is in the cloud's records."""

    def written():
        rows = cloud.sql(
            "select curr_write_bytes + tot_write_bytes from volume_usage_cache where "
            f"instance_uuid = '{server_id}' and volume_id = '{volume_id}'"
        ).split()
        return int(rows[0]) if rows else 0

    with cloud.options(node, "[DEFAULT]\nvolume_usage_poll_interval = 2"):
        before = wait_for("the first report", written, 30)
        run(f"dd if=/dev/zero of={disk} bs=1M count=4 seek=64 conv=fsync")
        wait_for("what was written", lambda: written() >= before + 4 * 1024**2, 30)


def test_an_attachment_is_made_anew_for_a_stopped_server(
    api, cloud, node, server_id, volume_id, volumes, tmp_path
):
    """``nova-manage volume_attachment refresh`` has the host let go of the volume first."""
    api.call("POST", f"/servers/{server_id}/action", {"os-stop": None})
    api.wait_status(server_id, "SHUTOFF", 120)
    (before,) = volumes.get(volume_id)["attachments"]
    conf = f"--config-file={cloud.state}/etc/nova/nova.conf"
    manage = str(cloud.programs / "nova-manage")
    host_conf = f"--config-file={cloud.state}/etc/{node}/nova.conf"
    connector = tmp_path / "connector.json"
    connector.write_text(
        cloud.on(node, manage, host_conf, "volume_attachment", "get_connector", "--json")
    )
    cloud.run("run", manage, conf, "volume_attachment", "refresh", server_id, volume_id,
              str(connector))  # fmt: skip

    (after,) = volumes.get(volume_id)["attachments"]
    assert after["attachment_id"] != before["attachment_id"]
    api.call("POST", f"/servers/{server_id}/action", {"os-start": None})
    api.wait_status(server_id, "ACTIVE", 120)
    kind = volumes.get(volume_id)["volume_type"]
    agreed(api, cloud, node, volumes, server_id, volume_id, kind)
