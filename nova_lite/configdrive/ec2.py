"""The EC2 tree of a config drive, ``ec2/<version>/meta-data.json``."""

from __future__ import annotations

from typing import Any

from nova_lite.configdrive.data import DriveData
from nova_lite.model.network import FixedIp

VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
)


def metadata(data: DriveData, version: str) -> dict[str, Any]:
    """The keys that EC2's metadata had in ``version``, one of VERSIONS."""
    server = data.server
    addresses = [ip for vif in data.vifs for subnet in vif.network.subnets for ip in subnet.ips]
    found: dict[str, Any] = {
        "ami-id": server.ec2_ami_id,
        "ami-launch-index": server.launch_index,
        "ami-manifest-path": "FIXME",  # what guests have always read there
        "instance-id": server.ec2_instance_id,
        "hostname": data.hostname,
        "local-ipv4": next((ip.address for ip in addresses if ip.version == 4), None),
        "reservation-id": server.reservation_id,
        "security-groups": list(data.security_groups),
    }
    if server.key_name:
        key = {"_name": f"0={server.key_name}", "openssh-key": server.key_data}
        found["public-keys"] = {"0": key}
    if version >= "2007-01-19":
        found["local-hostname"] = found["public-hostname"] = data.hostname
        found["public-ipv4"] = _floating(addresses)
    if version >= "2007-08-29":
        found["instance-type"] = server.flavor.name
    if version >= "2007-12-15":
        found["block-device-mapping"] = _mapping(data)
        kernel = {"kernel-id": data.ec2.kernel, "ramdisk-id": data.ec2.ramdisk}
        found.update({name: value for name, value in kernel.items() if value})
    if version >= "2008-02-01":
        found["placement"] = {"availability-zone": server.availability_zone}
    if version >= "2008-09-01":
        found["instance-action"] = "none"
    return found


def _floating(addresses: list[FixedIp]) -> str:
    return next((floating for ip in addresses for floating in ip.floating_ips), "")


def _mapping(data: DriveData) -> dict[str, Any]:
    root = data.server.root_device_name
    if root is None:
        return {"ami": "sda1", "ephemeral0": "sda2", "root": "/dev/sda1", "swap": "sda3"}
    mapping: dict[str, Any] = {"ami": root.removeprefix("/dev/"), "root": root}
    if data.ephemeral_device:
        mapping["ephemeral0"] = data.ephemeral_device
    if data.swap_device:
        mapping["swap"] = data.swap_device
    devices = data.block_devices
    volumes = [device.device_name for device in devices if device.destination_type == "volume"]
    for index, name in enumerate(sorted(volumes, key=lambda name: (name is not None, name or ""))):
        mapping[f"ebs{index}"] = name
    blank = [
        device
        for device in devices
        if device.destination_type != "volume" and device.source_type == "blank"
    ]
    ephemeral = [device for device in blank if device.guest_format != "swap"]
    for device in blank:
        if device.guest_format == "swap":
            mapping["swap"] = device.device_name
    for index, device in enumerate(ephemeral):
        mapping[f"ephemeral{index}"] = device.device_name
    return mapping
