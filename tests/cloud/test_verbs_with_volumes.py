"""A server whose disks are volumes goes through all verbs: the volumes stay its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import free, used_by, volume_ledgers
from tests.cloud.support.volumes import Volumes

pytestmark = pytest.mark.cloud


class Backed:
    """A server that boots from a volume and has another one, with known data on it."""

    def __init__(self, api, cloud, node, server, volumes, data):
        self.api, self.cloud, self.node, self.id = api, cloud, node, server
        self.volumes, self.data = volumes, data
        self.guest = Guest(cloud, node, server)
        self.written = self.guest.mark(data)

    def act(self, action, arguments=None, status="ACTIVE"):
        self.api.act(self.id, action, arguments)
        return self.api.wait_status(self.id, status, 240)

    def assert_has_volumes(self, *, running=True, watched=True):
        """Cinder, Nova, libvirt and Ceph say that it uses both, and nobody else does.

        :param watched: False right after a loss of power: Ceph forgets a dead client after 30 s
        """
        for volume in self.volumes:
            found = volume_ledgers(self.cloud, self.api, self.node, volume)
            wanted = used_by(self.id, running=running)
            assert found == (wanted if watched else replace(wanted, watchers=found.watchers))

    def assert_has_its_data(self):
        assert self.guest.checksum(self.data) == self.written


@pytest.fixture(scope="module")
def volumes(api, module_garbage):
    return Volumes(api, module_garbage.later)


@pytest.fixture(scope="module")
def backed(api, cloud, node, volumes, module_garbage):
    data = volumes.create("ceph")
    root = {"source_type": "image", "destination_type": "volume", "volume_size": 1,
            "boot_index": 0, "uuid": api.image_id("tiny-agent"),
            "delete_on_termination": True}  # fmt: skip
    disks = [root, {"source_type": "volume", "destination_type": "volume", "uuid": data,
                    "boot_index": -1}]  # fmt: skip
    server = api.request_boot(
        node, imageRef="", block_device_mapping_v2=disks, networks="none"
    )["id"]
    module_garbage.server(server)
    api.wait_status(server, "ACTIVE", 180)
    rows = api.call("GET", f"/servers/{server}/os-volume_attachments")["volumeAttachments"]
    return Backed(api, cloud, node, server, [row["volumeId"] for row in rows], data)


@pytest.fixture(scope="module")
def rescue_image(api, cloud, module_garbage):
    """One that leaves the server's disks under their names; only such a one rescues volumes."""
    return upload(api, cloud, module_garbage, hw_rescue_device="disk", hw_rescue_bus="virtio")


def upload(api, cloud, garbage, **properties):
    image = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2", **properties
    )
    garbage.later(lambda: api.delete_image(image))
    return image


@pytest.mark.core
@pytest.mark.timeout(900)
def test_power(backed):
    """Off, on, rebooted, paused, on the host's disk: Ceph is asked for nothing by a guest that is
    off, and both volumes stay in use."""
    backed.act("os-stop", status="SHUTOFF")
    backed.assert_has_volumes(running=False)
    backed.act("os-start")
    backed.act("pause", status="PAUSED")
    backed.assert_has_volumes()
    backed.act("unpause")
    backed.act("suspend", status="SUSPENDED")
    backed.assert_has_volumes(running=False)
    backed.act("resume")
    backed.assert_has_volumes()
    backed.act("reboot", {"type": "HARD"})
    backed.assert_has_its_data()
    backed.act("reboot", {"type": "SOFT"})
    backed.assert_has_volumes()


@pytest.mark.timeout(600)
def test_rescue(backed, rescue_image):
    """The rescue system sees both volumes under their names; it boots from a disk of its own."""
    backed.act("rescue", {"rescue_image_ref": rescue_image}, status="RESCUE")
    console = backed.api.wait_console(backed.id, "TINY: ready")
    disks = [line.split()[2] for line in console.splitlines() if line.startswith("TINY: disk ")]
    assert disks == ["vda", "vdb", "vdc"]
    backed.assert_has_volumes()
    path = f"/servers/{backed.id}/os-volume_attachments/{backed.data}"
    assert backed.api.call("DELETE", path, ok=False).status_code == 409
    backed.act("unrescue")
    backed.assert_has_volumes()


def test_rescue_in_the_usual_way_is_refused(backed):
    """A volume cannot make room for the rescue system's disk."""
    path = f"/servers/{backed.id}/action"
    assert backed.api.call("POST", path, {"rescue": None}, ok=False).status_code == 400


@pytest.mark.timeout(900)
def test_rebuild(backed, api, cloud, module_garbage):
    """Cinder writes the other image into the root volume; the data volume is left alone."""
    image = upload(api, cloud, module_garbage, hw_qemu_guest_agent="yes")
    before = [(row["volumeId"], row["device"]) for row in mapped(api, backed.id)]
    backed.api.call("POST", f"/servers/{backed.id}/action", {"rebuild": {"imageRef": image}})
    api.wait_status(backed.id, "ACTIVE", 180)
    assert api.wait_event(backed.id, "rebuild", "compute_rebuild_instance")["result"] == "Success"
    backed.assert_has_volumes()
    assert [(row["volumeId"], row["device"]) for row in mapped(api, backed.id)] == before
    images = [volume_image(backed, volume) for volume in backed.volumes]
    assert sorted(images, key=str) == sorted([image, None], key=str)
    backed.assert_has_its_data()


@pytest.mark.timeout(900)
def test_shelve(backed, api, cloud, node, volumes):
    """Without a host it keeps its volumes reserved, without a snapshot, and can be given others;
    then it has them again."""
    backed.act("shelve", status="SHELVED_OFFLOADED")
    for volume in backed.volumes:
        found = volume_ledgers(cloud, api, node, volume)
        assert found == replace(
            used_by(backed.id, running=False), status="reserved", defined=()
        )
    name = f"{api.server(backed.id)['name']}-shelved"
    assert api.rest(api.image, "GET", f"/images?name={name}")["images"] == []
    volumes.detach(backed.id, backed.data)
    assert volume_ledgers(cloud, api, node, backed.data) == free()
    body = {"volumeAttachment": {"volumeId": backed.data}}
    api.call("POST", f"/servers/{backed.id}/os-volume_attachments", body)
    backed.act("unshelve", {"host": node})
    backed.assert_has_volumes()
    backed.assert_has_its_data()


@pytest.mark.timeout(900)
def test_the_host_loses_power(backed, api, cloud, node):
    """Its server is off afterwards, and starts with both volumes."""
    cloud.run("node", node, "kill")
    cloud.run("node", node, "up")
    api.wait_status(backed.id, ("SHUTOFF", "ACTIVE"), 120)
    wait_for("SHUTOFF", lambda: api.server(backed.id)["status"] == "SHUTOFF", 90)
    backed.assert_has_volumes(running=False, watched=False)
    backed.act("os-start")
    backed.assert_has_volumes(watched=False)
    backed.assert_has_its_data()


@pytest.mark.timeout(600)
def test_local_root_disk_and_a_volume(api, cloud, node, volumes, garbage):
    """A rebuild and a shelved server of the other kind: the volume keeps its name and its data."""
    server = garbage.server(api.boot(node, image="tiny-agent", networks="none")["id"])
    data = volumes.create("ceph")
    volumes.attach(server, data)
    mixed = Backed(api, cloud, node, server, [data], data)
    body = {"rebuild": {"imageRef": api.image_id("tiny-agent")}}
    api.call("POST", f"/servers/{server}/action", body)
    api.wait_status(server, "ACTIVE", 180)
    mixed.assert_has_volumes()
    mixed.assert_has_its_data()
    mixed.act("shelve", status="SHELVED_OFFLOADED")
    assert volume_ledgers(cloud, api, node, data).status == "reserved"
    mixed.act("unshelve", {"host": node})
    mixed.assert_has_volumes()


def mapped(api, server):
    return api.call("GET", f"/servers/{server}/os-volume_attachments")["volumeAttachments"]


def volume_image(backed, volume):
    """The image that Cinder says a volume was made from."""
    storage = backed.api.connection.block_storage
    found = backed.api.rest(storage, "GET", f"/volumes/{volume}")["volume"]
    return found.get("volume_image_metadata", {}).get("image_id")
