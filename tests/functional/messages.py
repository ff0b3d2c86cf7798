"""What the compute API asks of a host, and the things that it names: images, volumes, a share."""

from __future__ import annotations

import json
from pathlib import Path

from nova_lite.wire.objects import WireObject, unwrap

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests/wire/data/methods/build_and_run_instance.json"
IMAGE = "11111111-2222-3333-4444-555555555555"
# Rescue systems: one that becomes the root disk, one beside which all disks keep their names.
RESCUE = "22222222-2222-3333-4444-555555555555"
RESCUE_BESIDE = "33333333-2222-3333-4444-555555555555"
VOLUME_KEY = "5ec7e7" + "ab" * 29
SNAPSHOT = "44444444-2222-3333-4444-555555555555"
# The snapshot of a shelved server.
SHELF = "55555555-2222-3333-4444-555555555555"
# A volume that the server is to have, its attachment, and the mapping that nova-api has made.
VOLUME = "66666666-2222-3333-4444-555555555555"
ATTACHMENT = "77777777-2222-3333-4444-555555555555"
# The volume and the attachment that take their place, and what the volume holds.
NEW_VOLUME = "66666666-aaaa-3333-4444-555555555555"
NEW_ATTACHMENT = "77777777-aaaa-3333-4444-555555555555"
CONTENT = bytes(range(1, 256)) * 1024
MAPPING = {
    "id": 2, "uuid": "88888888-2222-3333-4444-555555555555", "source_type": "volume",
    "destination_type": "volume", "volume_id": VOLUME, "attachment_id": ATTACHMENT,
    "device_name": "/dev/sda", "disk_bus": "scsi", "device_type": "disk", "boot_index": None,
    "guest_format": None, "volume_size": None, "connection_info": None, "tag": None,
    "delete_on_termination": False, "no_device": False, "deleted": False,
}  # fmt: skip
# A root disk that is to be a volume, made from the image and deleted with the server.
ROOT_VOLUME = {
    **MAPPING, "id": 1, "uuid": "99999999-2222-3333-4444-555555555555", "source_type": "image",
    "image_id": IMAGE, "volume_id": None, "attachment_id": None, "volume_size": 1,
    "volume_type": None, "snapshot_id": None, "device_name": None, "disk_bus": None,
    "boot_index": 0, "delete_on_termination": True,
}  # fmt: skip
# A share that the server is to have.
SHARE = "aaaaaaaa-2222-3333-4444-555555555555"
SHARE_MAPPING = {
    "id": 1, "uuid": "bbbbbbbb-2222-3333-4444-555555555555", "share_id": SHARE, "tag": "docs",
    "export_location": "192.0.2.9:/docs", "share_proto": "NFS",
}  # fmt: skip
MIB = 1024**2
# A boot sector that says R on the serial port, enables the power button (PM1a enable register of
# SeaBIOS at 602h), sleeps until it is pressed and then powers off (SLP_EN, S5); at each tick of the
# clock it ejects the PCI device that it is asked for (AE04h, AE08h: QEMU's ACPI hot-plug). One
# partition, for the image is checked. An empty disk gives the opposite, a guest that ignores the
# button.
POLITE_CODE = bytes.fromhex(
    "baf803" "b052" "ee" "ba0206" "b80001" "ef" "fb"
    "f4" "ba04ae" "66ed" "ba08ae" "66ef" "ba0006" "ed" "f6c401" "74ec" "ba0406" "b80020" "ef" "f4"
)  # fmt: skip
# One that says R and writes to 512 KiB of its memory at each tick of the clock, 18 times a second.
BUSY_CODE = bytes.fromhex(
    "baf803" "b052" "ee" "fb"
    "f4" "bb0010" "8edb" "fe060000" "81c30001" "81fb0090" "72f0" "ebea"
)  # fmt: skip
PARTITION = bytes.fromhex("80000100 83000100 01000000 ff070000")
POLITE, BUSY = (
    code.ljust(446, b"\0") + PARTITION.ljust(64, b"\0") + b"\x55\xaa"
    for code in (POLITE_CODE, BUSY_CODE)
)


def rescue_arguments(image):
    """A rescue that does not ask the guest to power off."""
    return {"rescue_password": None, "rescue_image_ref": image, "clean_shutdown": False}


def shelve_arguments():
    """A shelve that does not ask the guest to power off."""
    return {"image_id": SHELF, "clean_shutdown": False, "accel_uuids": []}


def unshelve_arguments(host="host1"):
    """An unshelve on this host."""
    image = {"id": SHELF, "disk_format": "raw", "size": MIB, "properties": {}}
    return {
        "image": image, "filter_properties": {}, "node": host, "request_spec": None,
        "accel_uuids": [],
    }  # fmt: skip


def rebuild_arguments():
    """A rebuild from the server's own image."""
    return {
        "new_pass": "", "injected_files": [], "image_ref": IMAGE, "orig_image_ref": IMAGE,
        "orig_sys_metadata": {"image_base_image_ref": IMAGE}, "bdms": None, "recreate": False,
        "on_shared_storage": False, "preserve_ephemeral": False, "migration": None,
        "scheduled_node": None, "limits": {}, "request_spec": None, "accel_uuids": [],
        "reimage_boot_volume": False, "target_state": None,
    }  # fmt: skip


def evacuation_arguments(migration):
    """An evacuation: the image is the server's own, which the API does not name again.

    :param migration: the fields of its record
    """
    made = WireObject.new("Migration", "1.8", **migration)
    made.clear_changes()
    return {
        **rebuild_arguments(), "image_ref": "", "orig_image_ref": "", "orig_sys_metadata": None,
        "recreate": True, "on_shared_storage": None, "migration": unwrap(made),
    }  # fmt: skip


def recorded():
    """The arguments of a recorded build."""
    return json.loads(RECORDED.read_text())[0]["request"]["args"]


def attach_arguments():
    mapping = WireObject.new("BlockDeviceMapping", "1.21", **MAPPING)
    mapping.clear_changes()
    return {"bdm": unwrap(mapping)}


def share_arguments(status):
    """A request about the server's share; the server is filled in by Host.message."""
    row = {**SHARE_MAPPING, "instance_uuid": None, "status": status}
    mapping = WireObject.new("ShareMapping", "1.2", **row)
    mapping.clear_changes()
    return {"share_mapping": unwrap(mapping)}


def build_arguments(retry=True, password=None):
    """The same without the instance and what a stand-in cloud has no use for.

    :param password: of the administrator, on the config drive; a power failure loses it
    """
    arguments = recorded()
    arguments.pop("instance")
    arguments["admin_password"] = password
    arguments["image"].update(id=IMAGE, disk_format="raw", size=MIB, properties={})
    mapping = arguments["block_device_mapping"]["nova_object.data"]["objects"][0]
    mapping["nova_object.data"].update(
        source_type="image", destination_type="local", boot_index=0, device_name=None,
        volume_id=None, snapshot_id=None, device_type="disk", disk_bus=None,
        guest_format=None, image_id=IMAGE, id=1, tag=None,
    )  # fmt: skip
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [mapping]
    networks = arguments["requested_networks"]["nova_object.data"]
    networks["objects"] = networks["objects"][:1]
    if not retry:
        arguments["filter_properties"] = {}
    return arguments


def volume_arguments(retry=True):
    """A build of a server whose disks are volumes."""
    arguments = build_arguments(retry)
    rows = [WireObject.new("BlockDeviceMapping", "1.21", **row) for row in (ROOT_VOLUME, MAPPING)]
    for row in rows:
        row.clear_changes()
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [unwrap(r) for r in rows]
    return arguments
