"""The four ledgers of volumes: Cinder, Nova, libvirt (now and at the next start) and Ceph."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import CloudError, DevCloud

# All guests of a host, as they run and as they are started next; one may end in between.
GUESTS = """
echo "<host><now>"
for guest in $(virsh list --uuid); do virsh dumpxml $guest 2>/dev/null; done
echo "</now><next>"
for guest in $(virsh list --all --uuid); do virsh dumpxml --inactive $guest 2>/dev/null; done
echo "</next></host>"
"""


@dataclass(frozen=True)
class VolumeLedgers:
    """What each of them knows of one volume.

    ``status`` and ``attachments`` (servers) are Cinder's, ``mapped`` (servers) Nova's, ``plugged``
    and ``defined`` (servers) libvirt's on one host, ``watchers`` how many clients have its RBD
    image open; None where the volume is not in Ceph.
    """

    status: str
    attachments: tuple[str, ...]
    mapped: tuple[str, ...]
    plugged: tuple[str, ...]
    defined: tuple[str, ...]
    watchers: int | None


def free(in_ceph: bool = True) -> VolumeLedgers:
    """What all say of a volume that nobody has."""
    return VolumeLedgers("available", (), (), (), (), 0 if in_ceph else None)


def used_by(server_id: str, *, running: bool = True, in_ceph: bool = True) -> VolumeLedgers:
    """What all say of a volume that one server has."""
    mine = (server_id,)
    plugged = mine if running else ()
    watchers = len(plugged) if in_ceph else None
    return VolumeLedgers("in-use", mine, mine, plugged, mine, watchers)


def volume_ledgers(cloud: DevCloud, api: Api, node: str, volume_id: str) -> VolumeLedgers:
    """Ask all four.

    :param node: the host whose guests are looked at
    """
    storage = api.connection.block_storage
    volume = api.rest(storage, "GET", f"/volumes/{volume_id}", microversion="3.59")["volume"]
    attachments = api.rest(
        storage, "GET", f"/attachments?all_tenants=1&volume_id={volume_id}", microversion="3.59"
    )["attachments"]
    mapped = cloud.sql(
        "select instance_uuid from block_device_mapping where deleted = 0 and "
        f"volume_id = '{volume_id}'",
        cloud.database(node),
    ).split()
    disks = ET.fromstring(cloud.on(node, "sh", "-c", GUESTS))
    return VolumeLedgers(
        volume["status"],
        tuple(sorted(str(attachment["instance"]) for attachment in attachments)),
        tuple(sorted(mapped)),
        _having(disks, "now", volume_id),
        _having(disks, "next", volume_id),
        watchers(cloud, volume_id),
    )


def _having(disks: ET.Element, when: str, volume_id: str) -> tuple[str, ...]:
    """The servers whose guests have a disk with that serial number."""
    return tuple(
        sorted(
            str(guest.findtext("uuid"))
            for guest in disks.findall(f"{when}/domain")
            if volume_id in [serial.text for serial in guest.findall("devices/disk/serial")]
        )
    )


def serials(cloud: DevCloud, node: str, server_id: str, *options: str) -> list[str]:
    """Serial numbers of a guest's disks."""
    try:
        root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server_id, *options))
    except CloudError:
        return []  # it was removed in between
    return [serial.text or "" for serial in root.findall("devices/disk/serial")]


def watchers(cloud: DevCloud, volume_id: str, pool: str = "volumes") -> int | None:
    """How many clients have the volume's image open; None: it is not in that pool."""
    try:
        said = cloud.run("run", "rbd", "status", f"{pool}/volume-{volume_id}", "--format", "json")
    except CloudError:
        return None
    return len(json.loads(said)["watchers"])
