"""Disks of volumes as stock nova-compute writes them.

``tests/data/volume_disks`` holds connections with the XML that nova 34.0.0 made of each.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from nova_lite.drivers.hypervisor.libvirt.xml_disks import add_disk
from nova_lite.drivers.volume.block import IscsiVolumes
from nova_lite.drivers.volume.rbd import RbdVolumes
from nova_lite.drivers.volume.remote_files import NfsVolumes
from nova_lite.guest.disks import PlannedDisk
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.volume import ConnectedVolume
from nova_lite.wire import connection_info
from tests.fakes.conf_file import read_conf

CASES = sorted((Path(__file__).parents[4] / "data" / "volume_disks").glob("*.json"))
DRIVERS: dict[str, Any] = {"rbd": RbdVolumes, "iscsi": IscsiVolumes, "nfs": NfsVolumes}
SECRET = "5ec7e700-0000-4000-8000-000000000001"


def plain(element: ET.Element) -> Any:
    """An element without the order of its children, which means nothing to libvirt."""
    children = sorted((plain(child) for child in element), key=str)
    return element.tag, dict(element.attrib), (element.text or "").strip(), children


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_volume_becomes_the_disk_that_stock_makes(path: Path, tmp_path: Path) -> None:
    """From what Nova keeps of a connection to the device; a server may change agents."""
    case = json.loads(path.read_text())
    connection = connection_info.load(json.dumps(case["connection_info"]), None)
    assert connection is not None
    conf = read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path)}})
    source = DRIVERS[connection.type](conf).source(connection)
    volume = ConnectedVolume(connection, source, SECRET if connection.encrypted else None)
    planned = PlannedDisk(
        None, f"/dev/{case['disk']['dev']}", case["disk"]["bus"], kind=case["disk"]["type"]
    )
    made = add_disk(
        ET.Element("devices"),
        volume_spec(planned, volume, HostPolicy(), unit=case["disk"].get("unit")),
    )

    assert plain(made) == plain(ET.fromstring("\n".join(case["xml"])))
