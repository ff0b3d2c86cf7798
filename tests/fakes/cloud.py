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

from nova_lite.drivers.disk import durable
from nova_lite.drivers.image.base import ImageService
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import ImageNotFound, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.server import Image


class Ledger:
    """A small JSON file that several processes may change; a kill leaves it old or new."""

    def __init__(self, path: Path):
        self.path = path

    @contextmanager
    def open(self):
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.path.read_text() if self.path.exists() else "{}"
            content = json.loads(before)
            yield content
            after = json.dumps(content)
            if after != before:
                part = self.path.with_suffix(".part")
                part.write_text(after)
                part.rename(self.path)

    def read(self):
        with self.open() as content:
            return content


class FakePlacement:
    """Allocations: consumer -> {provider: resources}."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def delete_allocations(self, consumer):
        with self.ledger.open() as content:
            return content.setdefault("allocations", {}).pop(consumer, None) is not None

    def allocations(self, consumer):
        held = self.ledger.read().get("allocations", {}).get(consumer, {})
        return {"allocations": {host: {"resources": row} for host, row in held.items()}}

    def move_allocations(self, source, target):
        with self.ledger.open() as content:
            held = content.setdefault("allocations", {}).pop(source, None)
            if held is None:
                return False
            content["allocations"][target] = held
            return True

    def drop_provider(self, consumer, provider):
        with self.ledger.open() as content:
            allocations = content.setdefault("allocations", {})
            allocations.get(consumer, {}).pop(provider, None)
            if not allocations.get(consumer, True):
                del allocations[consumer]


class FakeImageSource(ImageService):
    """Images that are files of a directory, named after their ids, metadata beside them.

    An image without such a file is queued. ``refusal``: what uploads raise.
    """

    refusal = None

    def __init__(self, directory: Path):
        self.directory = directory

    def add(self, image_id, data, disk_format="raw", **metadata):
        (self.directory / image_id).write_bytes(data)
        self.await_upload(image_id, disk_format=disk_format, **metadata)

    def await_upload(self, image_id, **metadata):
        """Make a record without bytes, as nova-api does for a snapshot."""
        (self.directory / f"{image_id}.json").write_text(json.dumps(metadata))

    def show(self, context, image_id):
        path = self.directory / image_id
        size = path.stat().st_size if path.exists() else 0
        return Image(
            image_id, size=size, status=self.status(context, image_id), **self._read(image_id)
        )

    def download(self, context, image_id, target):
        self.show(context, image_id)
        with durable.made_whole(target) as part:  # a killed agent leaves no half of it
            shutil.copyfile(self.directory / image_id, part)

    def upload(
        self, context, image_id, source, *, disk_format, container_format, properties,
        go_on=lambda: None,
    ):  # fmt: skip
        go_on()
        if self.refusal:
            raise self.refusal
        metadata = self._read(image_id)
        metadata["properties"] = {**metadata.get("properties", {}), **properties}
        metadata.update(disk_format=disk_format, container_format=container_format)
        self.await_upload(image_id, **metadata)
        part = self.directory / f"{image_id}.part"
        shutil.copyfile(source, part)
        part.rename(self.directory / image_id)

    def status(self, context, image_id):
        self._read(image_id)
        return "active" if (self.directory / image_id).exists() else "queued"

    def delete(self, context, image_id):
        for name in (image_id, f"{image_id}.json"):
            (self.directory / name).unlink(missing_ok=True)

    def find(self, context, properties):
        records = sorted(self.directory.glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
        found = [path.stem for path in reversed(records)]
        return [
            image_id
            for image_id in found
            if properties.items() <= self._read(image_id).get("properties", {}).items()
        ]

    def _read(self, image_id):
        path = self.directory / f"{image_id}.json"
        if not path.exists():
            raise ImageNotFound(f"Image {image_id} could not be found.")
        return json.loads(path.read_text())


class TapVifs(VifDriver):
    """Real tap devices that lead nowhere.

    :param enter: what to put before ``ip`` to run it in another network namespace
    """

    def __init__(self, enter=()):
        self._ip = [*enter, "ip"]

    uses_switch = True  # what is left in a guest is a tap of the switch

    def require(self, vif):
        if vif.vif_type != "ovs" or vif.vnic_type != "normal":
            raise VifTypeUnsupported(f"port {vif.id}: vif_type {vif.vif_type!r} is not supported")

    def plug(self, vif, *, server_uuid, server_name, project_id):
        if not self.plugged(vif):
            self._run("tuntap", "add", "dev", vif.devname, "mode", "tap")

    def unplug(self, vif, *, server_uuid, server_name, project_id):
        if vif.vif_type not in ("", "unbound", "binding_failed") and self.plugged(vif):
            self._run("link", "del", vif.devname)

    def plugged(self, vif):
        self.require(vif)
        command = [*self._ip, "link", "show", vif.devname]
        return subprocess.run(command, capture_output=True).returncode == 0

    def nic(self, vif, *, model, queues):
        self.require(vif)
        return NicSpec(
            mac=vif.mac,
            plug="tap",
            target=vif.devname,
            model=model,
            queues=queues,
            mtu=vif.network.mtu,
        )

    def _run(self, *arguments):
        subprocess.run([*self._ip, *arguments], check=True)
