"""Tags by which a guest finds the disks and network cards that its user meant."""

import json

import pytest

pytestmark = pytest.mark.cloud
# The guest says on its console what both sources of metadata tell of its devices.
SCRIPT = """#!/bin/sh
wget -qO- http://169.254.169.254/openstack/latest/meta_data.json >/tmp/meta
echo "$(sed 's/.*"devices": /DEVICES /' /tmp/meta)"
"""


def tagged(api, **more):
    image = api.image_id("tiny-pc")
    disk = {
        "boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "local",
        "delete_on_termination": True, "tag": "system",
    }  # fmt: skip
    networks = [{"uuid": api.network_id("private"), "tag": "front"}]
    return {
        "image": "tiny-pc", "block_device_mapping_v2": [disk], "networks": networks, **more
    }  # fmt: skip


def check(devices):
    """One disk and one network card, each with its tag and a place on the PCI bus."""
    disk, nic = sorted(devices, key=lambda device: device["type"])
    assert (disk["type"], disk["tags"], disk["bus"]) == ("disk", ["system"], "pci")
    assert (nic["type"], nic["tags"], nic["bus"]) == ("nic", ["front"], "pci")
    assert disk["address"] != nic["address"]
    assert nic["address"].startswith("0000:")
    return nic["mac"]


def test_the_metadata_service_tells_of_tagged_devices(api, boot):
    """Asked by the guest itself, and true: the card has the port's address."""
    server = boot(**tagged(api, user_data=SCRIPT))
    console = api.wait_console(server["id"], "DEVICES")
    line = next(text for text in console.splitlines() if "DEVICES [" in text)
    devices, _ = json.JSONDecoder().raw_decode(line.partition("DEVICES ")[2])
    assert check(devices) == api.ports(server["id"])[0]["mac_address"]


def test_the_config_drive_tells_of_tagged_devices(api, cloud, node, boot):
    """Its newest and its oldest version that has devices at all."""
    server = boot(**tagged(api, config_drive=True))
    drive = cloud.nova_files(node) / "instances" / server["id"] / "disk.config"
    for version in ("latest", "2016-06-30"):
        text = cloud.on(
            node, "isoinfo", "-R", "-i", str(drive), "-x", f"/openstack/{version}/meta_data.json"
        )
        assert check(json.loads(text)["devices"]) == api.ports(server["id"])[0]["mac_address"]
