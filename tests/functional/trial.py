"""One server in a cloud of its own, and the hosts that it may be on.

The cloud's stand-ins have their state in ``directory``, each host in a directory of its name below.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import time
import uuid

from nova_lite.wire.objects import unwrap
from tests.fakes.cloud import FakeImageSource, Ledger
from tests.fakes.conductor import FakeConductor
from tests.functional.host import Host
from tests.functional.messages import (
    IMAGE,
    MIB,
    POLITE,
    RESCUE,
    RESCUE_BESIDE,
    VOLUME,
    recorded,
)

MACS = re.compile("fa:16:3e(:[0-9a-f]{2}){3}")


class Trial:
    """Its server is scheduled to the first of ``hosts``; what is not said of one is about that.

    ``polite``: whether the guest obeys the power button. ``encrypted``: whether it has a volume
    with LUKS.
    """

    def __init__(self, lab, number: int, hosts, polite: bool) -> None:
        self.lab, self.server = lab, str(uuid.uuid4())
        self.number, self.polite, self.encrypted = number, polite, False
        self.directory = lab.directory / f"t{number}"
        self.ledger = Ledger(self.directory / "cloud.json")
        self.conductor = FakeConductor(self.directory / "conductor.json", self.ledger)
        self.hosts = {
            name: Host(name, place, lab.machine(name), self) for place, name in enumerate(hosts, 1)
        }
        self.host = self.hosts[hosts[0]]
        self.images = FakeImageSource(self.directory / "images")
        self.images.directory.mkdir()
        disk = POLITE if polite else b""
        for image in (IMAGE, RESCUE):
            self.images.add(image, disk.ljust(MIB, b"\0"))
        self.images.add(
            RESCUE_BESIDE, disk.ljust(MIB, b"\0"), properties={"hw_rescue_bus": "virtio"}
        )
        self._schedule()

    def home(self, name):
        """Where a host has its state directory."""
        return self.directory / name

    def _schedule(self):
        instance = copy.deepcopy(recorded()["instance"])
        instance["nova_object.data"].update(
            uuid=self.server, id=self.number, user_data=None, image_ref=IMAGE,
            system_metadata={},
        )  # fmt: skip
        instance["nova_object.data"]["flavor"]["nova_object.data"]["memory_mb"] = 32
        self.conductor.add_instance(instance)
        self.allocate(self.host.name)

    def allocate(self, *hosts):
        """The server's allocations are on these hosts, and on no others."""
        with self.ledger.open() as content:
            content["allocations"] = {self.server: {name: {"VCPU": 1} for name in hosts}}

    @property
    def free_port(self):
        """The id of a port that the server may be given."""
        return f"{self.server[:8]}-f0"

    # --- doing ------------------------------------------------------------------------------
    def message(self, method, **arguments):
        """A message of the compute API about this server as its records are now."""
        arguments = copy.deepcopy(arguments)
        if "share_mapping" in arguments:
            arguments["share_mapping"]["nova_object.data"]["instance_uuid"] = self.server
        with self.conductor.database() as tables:
            instance = self.conductor.class_instance_get_by_uuid(tables, None, self.server)
            if arguments.get("port_id") == "its last port":
                cache = json.loads(tables["InstanceInfoCache"][self.server]["network_info"])
                arguments["port_id"] = cache[-1]["id"]
            if arguments.get("port_id") == "free port":
                arguments["port_id"] = self.free_port
        return {
            "method": method,
            "request_id": f"req-{uuid.uuid4()}",
            "args": {"instance": unwrap(instance), **arguments},
        }

    def run(self, *messages, **order):
        """Run a victim on the first host, see ``Host.run``."""
        return self.host.run(*messages, **order)

    def set(self, **fields):
        """Change the server's record as the API does."""
        self.conductor.set(self.server, **fields)

    def forget_events(self):
        """What was done until now is not looked at."""
        with self.conductor.database() as tables:
            tables["events"] = []

    # --- again and again --------------------------------------------------------------------
    def keep(self):
        """Remember everything as it is now."""
        shutil.copytree(self.directory, self._files())
        for host in self.hosts.values():
            host.keep()

    def restore(self):
        """Make everything as it was at ``keep``."""
        self.clear()
        shutil.copytree(self._files(), self.directory)
        for host in self.hosts.values():
            host.restore()

    def clear(self):
        """Remove guests, taps and files."""
        for host in self.hosts.values():
            host.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _files(self):
        return self.directory.with_suffix(".kept")

    # --- looking ----------------------------------------------------------------------------
    def look(self):
        """Every ledger, and the first host, as one comparable value."""
        records, here = self.records(), self.host.look()
        both = {name: {**records[name], **here[name]} for name in ("volumes", "shares")}
        return {**records, **here, **both}

    def look_everywhere(self):
        """Every ledger, and all hosts by name."""
        return {**self.records(), **{name: host.look() for name, host in self.hosts.items()}}

    def records(self):
        """Every ledger."""
        self._let_the_conductor_finish()
        tables, cloud = self.conductor.read(), self.ledger.read()
        instance = tables["Instance"][self.server]
        bound = cloud.get("bound", {})
        fields = ("vm_state", "task_state", "power_state", "host", "node", "availability_zone",
                  "config_drive", "root_device_name")  # fmt: skip
        return {
            **{field: instance.get(field) for field in fields},
            "system_metadata": {
                key: "then" if key == "shelved_at" else value
                for key, value in instance["system_metadata"].items()
            },
            "deleted": bool(instance.get("deleted")),
            "volumes": self._volumes(tables, cloud.get("cinder", {})),
            "shares": {
                "let in": [
                    rule["state"] for found in cloud.get("manila", {}).values() for rule in found
                ],
                "mapped": [row["status"] for row in tables.get("ShareMapping", {}).values()],
            },
            "ports": sorted(
                owner and "server" for owner in cloud.get("ports", {}).values()
            ),
            "unbound": len(cloud.get("named", {})),
            "bound": sorted(bound.values()),
            "records": len(tables.get("VirtualInterface", {})),
            "addresses": [
                sum(
                    len(subnet["ips"])
                    for vif in json.loads(row["network_info"])
                    for subnet in vif["network"]["subnets"]
                )
                for row in tables.get("InstanceInfoCache", {}).values()
            ],
            "allocations": cloud.get("allocations", {}).get(self.server),
            "images": self._images(),
            "casts": [cast["method"] for cast in tables.get("casts", [])],
            "faults": {
                self._anonymous(row["message"]) for row in tables.get("InstanceFault", {}).values()
            },
            "events": {
                (event, phase, self._anonymous(message))
                for _, event, phase, message in tables.get("events", [])
            },
        }

    @staticmethod
    def _volumes(tables, cinder):
        """What Cinder and Nova say of volumes."""
        mappings = tables.get("BlockDeviceMapping", {}).values()
        return {
            "cinder": sorted(
                (row["status"], row["attach_status"]) for row in cinder.get("volumes", {}).values()
            ),
            "attachments": sorted(row["status"] for row in cinder.get("attachments", {}).values()),
            "mapped": sorted(
                (str(row["device_name"]), bool(row.get("connection_info")))
                for row in mappings
                if row.get("volume_id") and not row.get("deleted")
            ),
            "sizes": sorted(
                row.get("volume_size") or 0 for row in mappings if row.get("volume_id") == VOLUME
            ),
        }

    def _images(self):
        """What the image service has: ids with formats, properties, and whether there are bytes."""
        where = self.images.directory
        records = {path.stem: path.read_text() for path in sorted(where.glob("*.json"))}
        return {
            image_id: (json.loads(self._anonymous(text)), (where / image_id).exists())
            for image_id, text in records.items()
        }

    def _anonymous(self, text):
        return text and MACS.sub("its MAC", text.replace(self.server, "server"))

    def _let_the_conductor_finish(self):
        deadline = time.monotonic() + 10
        while any(c["due"] != float("inf") for c in self.conductor.read().get("casts", [])):
            assert time.monotonic() < deadline
            time.sleep(0.05)
