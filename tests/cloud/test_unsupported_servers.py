"""Servers that only nova-compute can serve, on a host that nova_lite has taken over."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.devcloud import LITE, wait_for
from tests.cloud.support.volumes import Volumes

pytestmark = pytest.mark.cloud

PCI_REQUEST = {
    "count": 1, "spec": [{"vendor_id": "8086", "product_id": "1"}], "alias_name": "gpu",
    "is_new": False, "numa_policy": None, "request_id": None, "requester_id": None,
}  # fmt: skip


def definition(cloud, node, server_id):
    return ET.fromstring(cloud.on(node, "virsh", "dumpxml", "--inactive", server_id))


def fault(api, server_id, action):
    """The event of the action that was refused."""
    event = api.wait_event(server_id, action, f"compute_{action}_instance")
    assert event["result"] == "Error"
    api.wait_idle(server_id)


@pytest.mark.lite_only
def test_a_guest_with_pci_devices_is_not_touched(api, boot, cloud, node):
    """Stock has made it, as its record says: it runs on through all that would define it anew."""
    server = boot()["id"]
    before = cloud.on(node, "virsh", "domid", server)
    cloud.sql(
        f"UPDATE instance_extra SET pci_requests = '{json.dumps([PCI_REQUEST])}' "
        f"WHERE instance_uuid = '{server}'"
    )
    try:
        for action, arguments in (
            ("reboot", {"type": "HARD"}), ("reboot", {"type": "SOFT"}), ("rescue", {}),
        ):  # fmt: skip
            api.act(server, action, arguments)
            fault(api, server, action)
            assert api.server(server)["status"] == "ACTIVE"
            assert cloud.on(node, "virsh", "domid", server) == before
        cloud.restart_agent(node)
        wait_for("its name in the log", lambda: f"The guest of server {server} goes on" in
                 cloud.agent_log(node).read_text(errors="replace"), 60)  # fmt: skip
    finally:
        cloud.sql(f"UPDATE instance_extra SET pci_requests = '[]' WHERE instance_uuid = '{server}'")
    api.act(server, "reboot", {"type": "HARD"})
    wait_for("a reboot", lambda: cloud.on(node, "virsh", "domid", server) != before, 60)
    api.wait_status(server, "ACTIVE")


def test_an_image_that_is_to_be_verified_is_not_started(api, cloud, node, garbage):
    """It has no signature: no agent may start it, whether it can verify or not."""
    server = api.request_boot(node, trusted_image_certificates=["no-such-certificate"])["id"]
    garbage.server(server)

    wait_for("its end", lambda: api.server(server)["status"] == "ERROR", 120)
    assert server not in cloud.on(node, "virsh", "list", "--all", "--uuid")
    assert not (cloud.nova_files(node) / "instances" / server / "disk").exists()


@pytest.mark.lite_only
def test_domains_are_named_by_the_template(api, boot, cloud, node):
    """A guest that has another name gets it when it is defined anew, and gives it back."""
    server = boot()["id"]
    before = cloud.on(node, "virsh", "domname", server)
    with cloud.options(node, "[DEFAULT]\ninstance_name_template = vm-%(uuid)s"):
        api.act(server, "reboot", {"type": "HARD"})
        wait_for("another name", lambda: f"vm-{server}" in
                 cloud.on(node, "virsh", "domname", server, check=False), 60)  # fmt: skip
        api.wait_status(server, "ACTIVE")
    api.act(server, "reboot", {"type": "HARD"})
    wait_for("its name", lambda: cloud.on(node, "virsh", "domname", server) == before, 60)
    api.wait_status(server, "ACTIVE")


@pytest.fixture
def iso(api, tmp_path, garbage):
    """The id of an ISO image; nothing boots from it, but the guest tries to."""
    program = shutil.which("genisoimage") or shutil.which("mkisofs") or shutil.which("xorrisofs")
    if program is None:
        pytest.skip("no program that makes ISO images")
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("hello")
    made = tmp_path / "made.iso"
    subprocess.run([program, "-quiet", "-o", str(made), str(tmp_path / "content")], check=True)
    command = ["image", "create", "--disk-format", "iso", "--container-format", "bare"]
    image = api.cli(*command, "--file", str(made), f"{NAME_PREFIX}-iso", parse=True)["id"]
    garbage.later(lambda: api.rest(api.image, "DELETE", f"/images/{image}"))
    return image


def test_a_volume_made_of_an_iso_image_is_a_cd(api, cloud, node, garbage, iso):
    """On the CD bus, booted from as a CD, now and at the next start."""
    root = {"source_type": "image", "destination_type": "volume", "volume_size": 1, "uuid": iso,
            "boot_index": 0, "delete_on_termination": True}  # fmt: skip
    server = api.request_boot(
        node, imageRef="", block_device_mapping_v2=[root], networks="none"
    )["id"]  # fmt: skip
    garbage.server(server)
    api.wait_status(server, "ACTIVE", 240)

    def look():
        found = definition(cloud, node, server)
        disk = found.find("devices/disk")
        return disk.get("device"), disk.find("target").get("bus"), found.find("os/boot").get("dev")

    assert look() in (("cdrom", "ide", "cdrom"), ("cdrom", "sata", "cdrom"))
    before = cloud.on(node, "virsh", "domid", server)
    api.act(server, "reboot", {"type": "HARD"})
    wait_for("a reboot", lambda: cloud.on(node, "virsh", "domid", server) != before, 60)
    api.wait_status(server, "ACTIVE")
    assert look() in (("cdrom", "ide", "cdrom"), ("cdrom", "sata", "cdrom"))


def test_an_unshelved_server_is_of_its_own_image(api, boot, cloud, node):
    """In its metadata, where nova_lite writes it, and in the file below its disk."""
    server = boot()
    api.act(server["id"], "pause")
    api.wait_status(server["id"], "PAUSED")
    api.act(server["id"], "shelve")
    api.wait_status(server["id"], "SHELVED_OFFLOADED", 120)
    api.act(server["id"], "unshelve", {"host": node})
    api.wait_status(server["id"], "ACTIVE", 120)

    image = server["image"]["id"]
    disk = cloud.nova_files(node) / "instances" / server["id"] / "disk"
    base = hashlib.sha1(image.encode()).hexdigest()
    info = json.loads(
        cloud.on(node, "qemu-img", "info", "-U", "--output=json", "-f", "qcow2", str(disk))
    )
    assert info["backing-filename"].endswith(f"/_base/{base}")
    if cloud.agent_kind(node) == LITE:
        assert f'uuid="{image}"' in cloud.on(node, "virsh", "dumpxml", server["id"])


@pytest.mark.lite_only
def test_a_stopped_server_starts_without_a_volume_that_was_taken(api, boot, cloud, node, garbage):
    """Its attachment is deleted in Cinder alone: somebody else may have the volume by now."""
    volumes = Volumes(api, garbage.later)
    server = boot()["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF")
    cloud.sql(
        f"UPDATE volume_attachment SET deleted = 1, attach_status = 'detached' "
        f"WHERE volume_id = '{volume}'; UPDATE volumes SET status = 'available', "
        f"attach_status = 'detached' WHERE id = '{volume}'",
        database="cinder",
    )

    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE")

    assert volume not in cloud.on(node, "virsh", "dumpxml", server)
