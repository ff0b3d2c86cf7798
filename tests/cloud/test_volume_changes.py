"""Volumes that change under a guest: they grow, move to other storage, and are snapshotted."""

from __future__ import annotations

import random
import time
import xml.etree.ElementTree as ET

import pytest

from tests import rotation
from tests.cloud.support.devcloud import CloudError, wait_for
from tests.cloud.support.guest import boot_with_agent, in_guest
from tests.cloud.support.volumes import Snapshots, Volumes, mapping_texts

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900)]

MOVED_S = 120
POOLS = {"ceph": "volumes/", "ceph2": "volumes2/"}
GIB = 1024**3
# Seconds between the beginning of a move and the death of the agent; None: --seed decides.
LONGEST = 2.0
KILLS = (pytest.param(None, marks=pytest.mark.core), 0.0, 0.5, 1.5)


@pytest.fixture(scope="module")
def server_id(api, node, module_garbage):
    """A running server whose guest can be asked."""
    return boot_with_agent(api, node, module_garbage)["id"]


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


@pytest.fixture
def kill_during(cloud, node):
    """Kill the agent so many seconds after it began with something, and start the next one."""
    journals = cloud.nova_files(node) / "nova-lite" / "journal"

    def kill(method, over, seconds=0.0):
        def begun():
            return any(journals.glob(f"*-{method}.journal")) or over()

        wait_for(f"the begin of {method}", begun, 120, pause=0.01)
        time.sleep(seconds)
        cloud.agent(node).kill()
        cloud.restart_agent(node)

    return kill


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
    (kept,) = [m for m in mapping_texts(api, server_id) if m["volume_id"] == volume_id]
    name = kept["data"]["name"]
    assert name.startswith(POOLS[kind]) and kept["serial"] == kept["volume_id"] == volume_id
    assert places(cloud, node, server_id, volume_id) == [name, name]
    (row,) = cloud.sql(
        "select volume_id, attachment_id from block_device_mapping where deleted = 0 and "
        f"volume_id = '{volume_id}' and instance_uuid = '{server_id}'"
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


def sectors(run, disk):
    return int(run(f"cat /sys/block/{disk.removeprefix('/dev/')}/size"))


@pytest.mark.parametrize(
    "killed", [False, pytest.param(True, marks=[pytest.mark.lite_only, pytest.mark.core])]
)
def test_a_guest_sees_at_once_that_its_volume_has_grown(
    api, cloud, node, server_id, volume_id, volumes, run, disk, kill_during, killed
):
    """And Nova keeps the size; the death of the agent only delays it."""
    size = volumes.get(volume_id)["size"]
    assert sectors(run, disk) == size * GIB // 512

    def grown():
        return sectors(run, disk) == (size + 1) * GIB // 512

    body = {"os-extend": {"new_size": size + 1}}
    volumes.request("POST", f"/volumes/{volume_id}/action", body)
    if killed:
        kill_during("extend_volumes", grown)

    wait_for("the new size in the guest", grown, 60)
    event = api.wait_event(server_id, "extend_volume", "compute_extend_volume")
    assert event["result"] == "Success"
    assert mapped_size(cloud, volume_id) == size + 1


def mapped_size(cloud, volume_id):
    return int(cloud.sql(
        f"select volume_size from block_device_mapping where deleted=0 and volume_id='{volume_id}'"
    ))  # fmt: skip


@pytest.mark.lite_only
def test_a_disk_is_never_made_smaller(
    api, cloud, node, server_id, volume_id, volumes, run, disk
):
    """Whatever Cinder says: the guest keeps what it has, and the action tells why."""
    size = volumes.get(volume_id)["size"]
    of_volume = f"where id = '{volume_id}'"
    cloud.sql(f"update volumes set size = {size - 1} {of_volume}", "cinder")
    try:
        event = {"name": "volume-extended", "server_uuid": server_id, "tag": volume_id}
        api.call("POST", "/os-server-external-events", {"events": [event]})
        failed = api.wait_event(server_id, "extend_volume", "compute_extend_volume")
    finally:
        cloud.sql(f"update volumes set size = {size} {of_volume}", "cinder")
    assert failed["result"] == "Error"
    assert "not made smaller" in failed["details"]
    assert sectors(run, disk) == size * GIB // 512
    assert mapped_size(cloud, volume_id) == size
    assert volumes.get(volume_id)["status"] == "in-use"


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
@pytest.mark.parametrize("seconds", KILLS)
def test_a_move_survives_the_death_of_the_agent(
    request, api, cloud, node, server_id, volume_id, volumes, run, disk, writing, kill_during,
    seconds,
):  # fmt: skip
    """kill -9 while QEMU copies, and around it."""
    if seconds is None:
        seconds = random.Random(rotation.seed(request.config)).uniform(0, LONGEST)
    kind = {"ceph": "ceph2", "ceph2": "ceph"}[volumes.get(volume_id)["volume_type"]]
    retype(volumes, volume_id, kind)
    kill_during("swap_volume", lambda: volumes.get(volume_id)["volume_type"] == kind, seconds)

    assert moved(volumes, volume_id, kind)["migration_status"] == "success"
    assert writing()
    agreed(api, cloud, node, volumes, server_id, volume_id, kind)


@pytest.mark.lite_only
def test_only_cinder_may_ask_for_a_swap(
    api, cloud, node, server_id, volume_id, volumes, garbage
):
    """The API refuses it, or the host: of a volume that has migrated before, the API does not."""
    volume = volumes.get(volume_id)
    other = Volumes(api, garbage.later).create("ceph", size=volume["size"])
    kind = volume["volume_type"]
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


@pytest.fixture(scope="module")
def file_volume(volumes, server_id, volume_id):
    """A second volume, which is a file; made before tests that take the first one."""
    file_volume = volumes.create("nfs")
    volumes.attach(server_id, file_volume)
    return file_volume


def chain(cloud, node, server_id, volume_id):
    """What follows the volume's name in those of the files of its disk, the one in use first."""
    found = []
    for way in ([], ["--inactive"]):
        root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server_id, *way))
        disks = root.findall("devices/disk")
        level, files = next(d for d in disks if d.findtext("serial") == volume_id), []
        while level is not None and level.find("source") is not None:
            files.append(level.find("source").get("file").rpartition(volume_id)[2])
            level = level.find("backingStore")
        found.append(files)
    assert found[1][:1] == found[0][:1], "the next start is from another file"
    return found[0]


def test_snapshots_of_a_volume_that_is_a_file(
    api, cloud, node, server_id, file_volume, volumes, run, garbage, kill_during
):
    """Files come and go below the guest; it reads what it wrote, also after it was off."""
    snapshots = Snapshots(volumes, file_volume)
    garbage.later(snapshots.delete_all)
    wait_for("the disk in the guest", lambda: "vdc" in run("ls /sys/block"), 30)

    def write(place):
        run(f"dd if=/dev/urandom of=/dev/vdc bs=1M count=1 seek={place} conv=fsync")
        return read()

    def read():
        return run("echo 3 > /proc/sys/vm/drop_caches; head -c 4M /dev/vdc | md5sum")

    def files():
        return chain(cloud, node, server_id, file_volume)

    write(0)
    first = snapshots.take()
    write(1)
    second = snapshots.take()
    write(2)
    third = snapshots.take()
    written = write(3)
    assert files() == [f".{third}", f".{second}", f".{first}", ""]

    snapshots.delete(first)  # the oldest is put into what it is based on
    assert (files(), read()) == ([f".{third}", f".{second}", ""], written)

    api.act(server_id, "reboot", {"type": "HARD"})
    api.wait_status(server_id, "ACTIVE", 120)
    wait_for("the guest", lambda: answers(run), 120)
    assert (files(), read()) == ([f".{third}", f".{second}", ""], written)

    snapshots.delete(third)  # the newest takes in what is below it
    assert (files(), read()) == ([f".{third}", ""], written)

    snapshots.request_delete(second)
    kill_during("volume_snapshot_delete", lambda: second not in snapshots.states())
    snapshots.wait_gone(second)
    assert (files(), read()) == ([f".{third}"], written)
    (kept,) = [m for m in mapping_texts(api, server_id) if m["volume_id"] == file_volume]
    assert (kept["data"]["name"], kept["data"]["format"]) == (
        f"volume-{file_volume}.{third}", "qcow2"
    )  # fmt: skip


def answers(run):
    try:
        return run("echo here") == "here"
    except CloudError:
        return False


def test_an_attachment_is_made_anew_for_a_stopped_server(
    api, cloud, node, server_id, volume_id, volumes, tmp_path
):
    """``nova-manage volume_attachment refresh`` has the host let go of the volume first."""
    api.call("POST", f"/servers/{server_id}/action", {"os-stop": None})
    api.wait_status(server_id, "SHUTOFF", 120)
    (before,) = volumes.get(volume_id)["attachments"]
    conf = f"--config-file={cloud.state}/etc/nova/nova.conf"
    manage = str(cloud.nova_programs / "nova-manage")
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
