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
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.drivers.image.base import ImageService
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import ImageNotFound, PortInUse, PortNotFound, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.model.server import Image
from nova_lite.services.port_attachments import ChosenPort


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


def vif_of(port_id, *, active=True):
    subnet = Subnet("192.0.2.0/24", 4, gateway="192.0.2.1", ips=(FixedIp("192.0.2.9", 4),))
    return Vif(
        id=port_id,
        mac="fa:16:3e:" + sha256(port_id.encode()).digest()[:3].hex(":"),
        network=Network("net-1", "private", "br-int", 1450, subnets=(subnet,)),
        vif_type="ovs",
        devname=("tap" + port_id)[:14],
        active=active,
    )


class FakePorts:
    """Neutron's ports: made for a server, found again by its uuid; ``bound``: port -> host.

    They are wired up at once, unless the ledger says ``ports_stay_down``; a server gets as many as
    it says in ``ports_each``, by default one. A port whose owner is empty may be attached;
    ``named`` has the ports that were made under a name and are not bound yet.
    """

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def warm_up(self):
        pass

    def read_ahead(self, context, requests):
        pass

    def allocate(
        self, context, server, requests, security_groups, host, *, first=False, providers=None
    ):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            # Who says that it is the first does not look: what it is wrong about is there twice.
            mine = [] if first else self._of(content, server.uuid)
            while len(mine) < content.get("ports_each", 1):
                mine.append(f"{server.uuid[:8]}-{len(ports) + 1:02x}")
                ports[mine[-1]] = server.uuid
            content.setdefault("bound", {}).update(dict.fromkeys(mine, host))
            return [vif_of(port, active=not content.get("ports_stay_down")) for port in mine]

    def deallocate(self, context, server_uuid, preserved_ids):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            for port in [port for port, owner in ports.items() if owner == server_uuid]:
                del ports[port]
                content.get("bound", {}).pop(port, None)

    def security_groups(self, context, server_uuid):
        return ["default"] * len(self._of(self.ledger.read(), server_uuid))

    def choose(self, context, server, request, name, *, asked_before=False):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            if request.port_id is not None:
                if request.port_id not in ports:
                    raise PortNotFound(f"Port {request.port_id} could not be found.")
                if ports[request.port_id]:
                    raise PortInUse(f"Port {request.port_id} is still in use.")
                return ChosenPort(request.port_id)
            named = content.setdefault("named", {})
            made = named.get(name) if asked_before else None
            if made is None:
                made = named[name] = f"{server.uuid[:8]}-{len(ports) + 1:02x}"
                ports[made] = server.uuid
            return ChosenPort(made)

    def bind_one(self, context, server, chosen, host, *, made, name=None, providers=None):
        port_id = chosen.id
        with self.ledger.open() as content:
            owner = content.setdefault("ports", {}).get(port_id)
            if owner is None:
                raise PortNotFound(f"Port {port_id} could not be found.")
            if owner not in ("", server.uuid):
                raise PortInUse(f"Port {port_id} is still in use.")
            content["ports"][port_id] = server.uuid
            content.setdefault("bound", {})[port_id] = host
            content["named"] = {
                name: port for name, port in content.get("named", {}).items() if port != port_id
            }
            active = not content.get("ports_stay_down")
            return replace(vif_of(port_id, active=active), preserve=not made)

    def release_one(self, context, server_uuid, port_id, *, made, name=None):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            surplus = content.setdefault("named", {}).pop(name, None)
            if surplus is not None:
                ports.pop(surplus, None)
            if ports.get(port_id) != server_uuid:
                return
            if made:
                del ports[port_id]
            else:
                ports[port_id] = ""
            content.get("bound", {}).pop(port_id, None)

    def bind(self, context, server, known, host, providers=None):
        with self.ledger.open() as content:
            mine = self._of(content, server.uuid)
            content.setdefault("bound", {}).update(dict.fromkeys(mine, host))
        return self.refresh(context, server.uuid, known)

    def unbind(self, context, server_uuid, host):
        with self.ledger.open() as content:
            for port in self._of(content, server_uuid):
                if content.get("bound", {}).get(port) == host:
                    del content["bound"][port]

    def hand_back(self, context, server, host, before):
        with self.ledger.open() as content:
            bound = content.setdefault("bound", {})
            mine = [port for port in self._of(content, server.uuid) if bound.get(port) == host]
            bound.update(dict.fromkeys(mine, before))

    def refresh(self, context, server_uuid, known, *, only=None, beside=(), sparing=False):
        content = self.ledger.read()
        bound, mine = content.get("bound", {}), self._of(content, server_uuid)
        if not known:
            known = [vif_of(port, active=not content.get("ports_stay_down")) for port in mine]
        return [
            replace(vif, vif_type="ovs" if vif.id in bound else "unbound")
            for vif in known
            if vif.id in mine or only is not None
        ]

    def older(self, context, server_uuid, moment):
        return set()

    def changed(self, context, servers, host):
        """Which ports there are, and where they are bound to; they have one address each."""
        content = self.ledger.read()
        bound = content.get("bound", {})
        return {
            uuid
            for uuid, known in servers.items()
            if known is None
            or {vif.id for vif in known} != set(mine := self._of(content, uuid))
            or any(bound.get(port) != host for port in mine)
        }

    def gone(self, context, port_ids):
        return set(port_ids) - self.ledger.read().get("ports", {}).keys()

    def active(self, context, server_uuid, *, within=0.0):
        content = self.ledger.read()
        if content.get("ports_stay_down"):
            return set()
        return set(self._of(content, server_uuid)) & content.get("bound", {}).keys()

    @staticmethod
    def _of(content, server_uuid):
        return [port for port, owner in content.get("ports", {}).items() if owner == server_uuid]


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
