"""A server after a resize, for tests of how that ends: at the host that it left, or has come to."""

from __future__ import annotations

import copy
import json

from nova_lite.inventory.claims import Role, Sizes
from nova_lite.model.states import PowerState
from nova_lite.wire.objects import WireObject, unwrap
from tests.fakes.peers import FakePeers
from tests.unit.operations.host import ATTACHMENT, MAPPING, VOLUME, Host

NODE = "fake.example"  # of the stand-in for this host
MIGRATION = "cccccccc-2222-3333-4444-555555555555"
CONNECTION = json.dumps(
    {"driver_volume_type": "file", "data": {"name": VOLUME}, "serial": VOLUME}
)
SMALL, LARGE = 1, 2  # ids of the flavors


class Resized(Host):
    """host1 has the agent; ``source`` and ``dest`` are the ends of the move. What is on this host
    is as the verbs before leave it. The disk of before has the content ``old``.
    """

    def __init__(self, directory, *, source="host1", dest="host2", status="finished",
                 volume=False, ran=True, **fields):  # fmt: skip
        super().__init__(directory)
        self.source, self.dest = source, dest
        self.peers = FakePeers(
            host1={}, host2={"check_instance_shared_storage": False},
        )  # fmt: skip
        self.boot()
        self.files = self.state / "instances" / self.server
        self.kept = self.files.with_name(f"{self.server}_resize")
        (self.files / "disk").write_text("new" if dest == "host1" else "old")
        if source == "host1":
            self._leave()
        if volume:
            self._attach(dest)
        self._record(status, ran, fields)

    def _leave(self):
        """The files are kept; the guest of another host's server is off, and has no taps."""
        self.files.rename(self.kept)
        (self.kept / "disk").write_text("old")
        if self.dest == self.source:
            self.files.mkdir()
            (self.files / "disk").write_text("new")
            return
        self.hypervisor.guests[self.server].state = PowerState.SHUTDOWN
        self.vifs.ports.clear()

    def _record(self, status, ran, fields):
        row = self.conductor.instance(self.server)
        new = row["flavor"]
        new["nova_object.data"].update(id=LARGE, vcpus=2)
        old = copy.deepcopy(new)
        old["nova_object.data"].update(id=SMALL, vcpus=1)
        context = WireObject.new(
            "MigrationContext", "1.2", instance_uuid=self.server, migration_id=7,
            old_numa_topology=None, new_numa_topology=None,
        )  # fmt: skip
        metadata = {**row["system_metadata"], "old_vm_state": "active" if ran else "stopped"}
        self.set(
            flavor=new, new_flavor=new, old_flavor=old, instance_type_id=LARGE, vcpus=2,
            migration_context=unwrap(context), system_metadata=metadata,
            **{"host": self.dest, "node": self.dest, "vm_state": "resized", "task_state": None,
               "power_state": 1 if ran else 4, **fields},
        )  # fmt: skip
        with self.ledger.open() as content:
            content["bound"] = dict.fromkeys(content["ports"], self.dest)
            content["allocations"] = {
                self.server: {self.dest: {"VCPU": 2}}, MIGRATION: {self.source: {"VCPU": 1}},
            }  # fmt: skip
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": {
                "id": 7, "uuid": MIGRATION, "status": status, "migration_type": "resize",
                "source_compute": self.source, "source_node": self.source,
                "dest_compute": self.dest, "dest_node": self.dest, "deleted": False,
                "old_instance_type_id": SMALL, "new_instance_type_id": LARGE,
                "instance_uuid": self.server,
            }}  # fmt: skip

    def _attach(self, where):
        """A volume that a host has connected; None: that is reserved."""
        row = {
            "id": ATTACHMENT, "status": "attached", "instance": self.server, "volume_id": VOLUME,
            "mountpoint": "/dev/vdb", "connector": {"host": where},
            "connection_info": {"driver_volume_type": "file", "name": VOLUME},
        }  # fmt: skip
        if where is None:
            row |= {"status": "reserved", "connector": None, "connection_info": {}}
        with self.ledger.open() as content:
            content["cinder"] = {
                "volumes": {VOLUME: {
                    "id": VOLUME, "status": "in-use" if where else "reserved", "size": 1,
                    "attach_status": "attached", "multiattach": False, "metadata": {},
                    "migration_status": None, "availability_zone": "nova",
                }},
                "attachments": {ATTACHMENT: row},
            }  # fmt: skip
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                **MAPPING, "instance_uuid": self.server,
                "connection_info": CONNECTION,  # of the host that had it, until it is attached
            }  # fmt: skip

    # --- the agent --------------------------------------------------------------------------
    def agent(self, observer=None, **replaced):
        made = super().agent(observer, peers=self.peers, **replaced)
        self.claim(made.tools.claims)
        return made

    def claim(self, claims):
        """What the records of an open move claim."""
        if self.source == "host1":
            claims.claim(self.server, Sizes(1, 32), role=Role.OUTGOING)
        if self.dest == "host1":
            claims.claim(self.server, Sizes(2, 32))

    def arguments(self):
        migration = WireObject.new("Migration", "1.8", **self.migration())
        migration.clear_changes()
        return {"migration": unwrap(migration), "request_spec": None}

    def ask(self, method, **more):
        return self.run(method, **{**self.arguments(), **more})

    # --- what is there ----------------------------------------------------------------------
    def migration(self):
        return self.conductor.read()["Migration"]["7"]

    def end(self, **fields):
        """Somebody changes the migration."""
        with self.conductor.database() as tables:
            tables["Migration"]["7"].update(fields)

    def row(self):
        row = self.conductor.instance(self.server)
        names = ("host", "vm_state", "task_state", "instance_type_id")
        return tuple(row.get(name) for name in names)

    def forgotten(self):
        """Whether the record has nothing of the move."""
        row = self.conductor.instance(self.server)
        names = ("old_flavor", "new_flavor", "migration_context")
        return not any(row[name] for name in names) and (
            "old_vm_state" not in row["system_metadata"]
        )

    def held(self):
        return self.ledger.read()["allocations"]

    def bound(self):
        return sorted(set(self.ledger.read()["bound"].values()))

    def cinder(self):
        """(status, host that is connected) of the volume's attachments."""
        rows = self.ledger.read()["cinder"]["attachments"].values()
        return sorted((row["status"], (row["connector"] or {}).get("host")) for row in rows)

    def disks(self):
        """Directory -> content of the root disk."""
        there = (self.state / "instances").glob(f"{self.server}*")
        return {
            path.name.replace(self.server, "uuid"): (path / "disk").read_text()[:3]
            for path in there
        }

    def faults(self):
        return [fault["message"] for fault in self.conductor.read()["InstanceFault"].values()]

    def look(self):
        seen = {
            **super().look(), "migration": self.migration()["status"], "bound": self.bound(),
            "on_disk": self.disks(), "forgotten": self.forgotten(), "held": {
                "server" if who == self.server else who: what for who, what in self.held().items()
            },
            "sent": sorted({(host, method) for host, method, _ in self.peers.sent}),
        }  # fmt: skip
        del seen["allocations"]
        if "cinder" in self.ledger.read():
            seen["connections"] = self.cinder()
        return seen
