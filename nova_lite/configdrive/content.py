"""The files of a config drive, as nova-compute 34 writes them.

Format: https://docs.openstack.org/nova/latest/user/metadata.html. Every dated version is there, so
that a guest finds the one it was written for. Nothing here reads a disk or a clock: the random
seed is passed in.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from nova_lite.configdrive import ec2
from nova_lite.configdrive.data import Device, DriveData
from nova_lite.configdrive.interfaces import interfaces
from nova_lite.configdrive.network_data import network_data
from nova_lite.errors import ConfigDriveError

FOLSOM = "2012-08-10"
GRIZZLY = "2013-04-04"
HAVANA = "2013-10-17"
LIBERTY = "2015-10-15"
NEWTON = "2016-06-30"
NEWTON_TWO = "2016-10-06"
OCATA = "2017-02-22"
ROCKY = "2018-08-27"
VICTORIA = "2020-10-14"
EPOXY = "2025-04-04"
VERSIONS = (
    FOLSOM,
    GRIZZLY,
    HAVANA,
    LIBERTY,
    NEWTON,
    NEWTON_TWO,
    OCATA,
    ROCKY,
    VICTORIA,
    EPOXY,
)
LATEST = "latest"
SEED_BYTES = 512


def drive_files(data: DriveData, seed: bytes) -> dict[str, bytes]:
    """Relative path -> content of every file on the drive.

    :param seed: SEED_BYTES random bytes for the guest's entropy pool
    :raises ConfigDriveError: the user data is not base64
    """
    files: dict[str, bytes] = {}
    user_data = _user_data(data)
    for version in (*ec2.VERSIONS, LATEST):
        if version in data.skip_ec2:
            continue
        known = ec2.VERSIONS[-1] if version == LATEST else version
        files[f"ec2/{version}/meta-data.json"] = _json(ec2.metadata(data, known))
        if user_data is not None:
            files[f"ec2/{version}/user-data"] = user_data
    content = _content(data)
    for version in (*VERSIONS, LATEST):
        known = VERSIONS[-1] if version == LATEST else version
        for name, body in _tree(data, known, seed, user_data, content).items():
            files[f"openstack/{version}/{name}"] = body
    for index, (_, body) in enumerate(content):
        files[f"openstack/{_content_path(index)}"] = body
    return files


def _tree(
    data: DriveData,
    version: str,
    seed: bytes,
    user_data: bytes | None,
    content: list[tuple[str | None, bytes]],
) -> dict[str, bytes]:
    """The files of one dated version."""
    files = {"meta_data.json": _json(_metadata(data, version, seed, content))}
    if user_data is not None:
        files["user_data"] = user_data
    static = data.vendor_static
    if version >= HAVANA and static is not None:
        files["vendor_data.json"] = _json(static)
    if version >= LIBERTY:
        files["network_data.json"] = _json(network_data(data.vifs))
    if version >= NEWTON_TWO:
        own = {} if static is None else {"static": static}
        files["vendor_data2.json"] = _json({**data.vendor_dynamic, **own})
    return files


def _metadata(
    data: DriveData, version: str, seed: bytes, content: list[tuple[str | None, bytes]]
) -> dict[str, Any]:
    server = data.server
    found: dict[str, Any] = {
        "uuid": server.uuid,
        "hostname": data.hostname,
        "name": server.display_name,
        "launch_index": server.launch_index,
        "availability_zone": server.availability_zone,
        **_optional(data, content),
    }
    if version >= GRIZZLY:
        found["random_seed"] = base64.b64encode(seed).decode()
    if version >= LIBERTY:
        found["project_id"] = server.project_id
    if version >= NEWTON:
        found["devices"] = [
            entry for device in data.devices if (entry := _device(device, version)) is not None
        ]
    if version >= VICTORIA:
        found["dedicated_cpus"] = sorted(data.dedicated_cpus)
    return found


def _optional(data: DriveData, content: list[tuple[str | None, bytes]]) -> dict[str, Any]:
    """Keys that are absent, not empty, when there is nothing to say."""
    server = data.server
    found: dict[str, Any] = {}
    if server.metadata:
        found["meta"] = dict(server.metadata)
    injected = [
        {"path": path, "content_path": f"/{_content_path(index)}"}
        for index, (path, _) in enumerate(content)
        if path is not None
    ]
    if injected:
        found["files"] = injected
    if content and content[0][0] is None:
        found["network_config"] = {
            "name": "network_config",
            "content_path": f"/{_content_path(0)}",
        }
    if data.admin_password:
        found["admin_pass"] = data.admin_password
    if server.key_name and server.key_data is not None:
        found["public_keys"] = {server.key_name: server.key_data}
        key = {"name": server.key_name, "type": server.key_type, "data": server.key_data}
        found["keys"] = [key]
    return found


def _device(device: Device, version: str) -> dict[str, Any] | None:
    """A tagged device, or None where the version cannot tell of it."""
    found: dict[str, Any] = {}
    if device.kind == "nic":
        if version >= OCATA and device.vlan is not None:
            found["vlan"] = device.vlan
        if version >= ROCKY:
            found["vf_trusted"] = device.trusted
        if not device.tags and not found:
            return None
        found.update(type="nic", mac=device.mac)
    elif device.kind == "disk":
        found.update(type="disk", serial=device.serial)
        if device.path:
            found["path"] = device.path
    elif version >= EPOXY:
        found.update(type="share", share_id=device.share_id, tag=device.share_tag)
    else:
        return None
    found.update(bus=device.bus, address=device.address)
    if device.tags:
        found["tags"] = list(device.tags)
    return found


def _content(data: DriveData) -> list[tuple[str | None, bytes]]:
    """Files in ``content/``: the injected network configuration (no path) comes first."""
    network = interfaces(data.vifs)
    first: list[tuple[str | None, bytes]] = [(None, network.encode())] if network else []
    return [*first, *data.files]


def _content_path(index: int) -> str:
    return f"content/{index:04d}"


def _user_data(data: DriveData) -> bytes | None:
    text = data.server.user_data
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        raise ConfigDriveError(
            f"The user data of server {data.server.uuid} is not base64: create it anew"
        ) from None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()
