"""Stand-ins for Neutron, Placement and Glance whose state outlives a killed agent.

They have the methods of ``steps.ports.Ports``, ``clients.placement.Placement`` (what operations
use of it) and ``drivers.image.base.ImageSource``.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from nova_lite.drivers.image.base import ImageSource
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import ImageNotFound
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.model.server import Image


class Ledger:
    """A small JSON file that several processes may change."""

    def __init__(self, path: Path):
        self.path = path

    @contextmanager
    def open(self):
        with open(self.path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = json.loads(file.read() or "{}")
            yield content
            file.truncate(0)
            file.write(json.dumps(content))

    def read(self):
        with self.open() as content:
            return content


def vif_of(port_id):
    subnet = Subnet("192.0.2.0/24", 4, gateway="192.0.2.1", ips=(FixedIp("192.0.2.9", 4),))
    return Vif(
        id=port_id,
        mac="fa:16:3e:" + ":".join(port_id.replace("-", "")[i : i + 2] for i in (0, 2, 4)),
        network=Network("net-1", "private", "br-int", 1450, subnets=(subnet,)),
        vif_type="ovs",
        devname=("tap" + port_id)[:14],
        active=True,
    )


class FakePorts:
    """Neutron's ports: made for a server, found again by its uuid."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def allocate(self, context, server, requests, security_groups, host):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            mine = [port for port, owner in ports.items() if owner == server.uuid]
            if not mine:
                mine = [f"{len(ports) + 1:08x}-{server.uuid[:8]}"]
                ports[mine[0]] = server.uuid
            return [vif_of(port) for port in mine]

    def deallocate(self, context, server_uuid, preserved_ids):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            for port in [port for port, owner in ports.items() if owner == server_uuid]:
                del ports[port]

    def refresh(self, context, server_uuid, known, *, only=None):
        return list(known)


class FakePlacement:
    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def delete_allocations(self, consumer):
        with self.ledger.open() as content:
            return content.setdefault("allocations", {}).pop(consumer, None) is not None


class FakeImageSource(ImageSource):
    """Images that are files of a directory, named after their ids."""

    def __init__(self, directory: Path):
        self.directory = directory

    def show(self, context, image_id):
        path = self.directory / image_id
        if not path.exists():
            raise ImageNotFound(f"Image {image_id} could not be found.")
        return Image(image_id, disk_format="raw", size=path.stat().st_size)

    def download(self, context, image_id, target):
        self.show(context, image_id)
        shutil.copyfile(self.directory / image_id, target)


class TapVifs(VifDriver):
    """Real tap devices that lead nowhere."""

    def supports(self, vif):
        return True

    def plug(self, vif, *, server_uuid, server_name, project_id):
        if not self.plugged(vif):
            subprocess.run(["ip", "tuntap", "add", "dev", vif.devname, "mode", "tap"], check=True)

    def unplug(self, vif, *, server_uuid, server_name, project_id):
        if self.plugged(vif):
            subprocess.run(["ip", "link", "del", vif.devname], check=True)

    def plugged(self, vif):
        return subprocess.run(["ip", "link", "show", vif.devname], capture_output=True).returncode == 0

    def nic(self, vif, *, model, queues):
        return NicSpec(mac=vif.mac, plug="tap", target=vif.devname, model=model, queues=queues)
