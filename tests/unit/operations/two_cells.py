"""Two hosts in two cells, and a server that moves from the first to the second one.

Each cell has a database; Neutron, Cinder, Placement and Glance are the cloud's. What nova-conductor
does between the calls of the hosts is here, in the order of nova/conductor/tasks/
cross_cell_migrate.py: ``copy``, the calls, ``take_over``, ``give_up``.
"""

from __future__ import annotations

import copy
import json

from nova_lite.conductor.instances import Instances
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, unwrap, wrap
from tests.fakes.conductor import FakeConductor
from tests.unit.operations.host import MAPPING, VOLUME, Host, cinder_with_volume
from tests.unit.operations.two_hosts import Target

MIGRATION = "cccccccc-2222-3333-4444-555555555555"
SNAPSHOT = "dddddddd-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"  # the second cell's attachment
SMALL, LARGE = 1, 2  # ids of the flavors
OLD, NEW = 7, 3  # ids of the migration in the databases of the two cells
CONNECTION = {"driver_volume_type": "file", "data": {"name": VOLUME}, "serial": VOLUME}


class CellTarget(Target):
    """A host in another cell."""

    def __init__(self, directory, first):
        super().__init__(directory, first)
        self.conductor = FakeConductor(directory / "conductor.json", self.ledger)


class TwoCells:
    """``flavor`` are fields of the new flavor; ``fields`` some of the server's record."""

    def __init__(self, directory, *, volume=False, flavor=None, **fields):
        self.source = Host(directory / "host1")
        self.server, self.ledger = self.source.server, self.source.ledger
        small = self.row(self.source)["flavor"]
        small["nova_object.data"]["root_gb"] = 0  # as small as its image: it is read as a whole
        self.set(self.source, flavor=small)
        self.source.boot()
        self.dest = CellTarget(directory / "host2", self.source)
        self.hosts = {"host1": self.source, "host2": self.dest}
        if volume:
            self._attach()
            connected = self.source.state / "connected" / f"{VOLUME}.{self.server}"
            connected.parent.mkdir(exist_ok=True)
            connected.touch()
        self._begin(flavor or {}, fields)

    # --- nova-api and nova-conductor --------------------------------------------------------
    def _begin(self, changes, fields):
        old = self.row(self.source)["flavor"]
        old["nova_object.data"].update(id=SMALL, swap=0, ephemeral_gb=0)
        self.flavor = copy.deepcopy(old)
        self.flavor["nova_object.data"].update(
            {"id": LARGE, "name": "new", "vcpus": 2, **changes}
        )
        kept = self.row(self.source)["system_metadata"]
        self.source.conductor.set(
            self.server, flavor=old, instance_type_id=SMALL, old_flavor=None, new_flavor=None,
            compute_id=1, hidden=False, migration_context=None, progress=0,
            system_metadata={**kept, "image_disk_format": "raw"},
            **{"task_state": "resize_prep", **fields},
        )  # fmt: skip
        with self.ledger.open() as content:
            content["allocations"] = {
                self.server: {"host2": {"VCPU": 2}}, MIGRATION: {"host1": {"VCPU": 1}},
            }  # fmt: skip
        with self.source.conductor.database() as tables:
            tables["Migration"] = {str(OLD): {
                "id": OLD, "uuid": MIGRATION, "status": "pre-migrating", "deleted": False,
                "migration_type": "resize", "source_compute": "host1", "source_node": "host1",
                "dest_compute": "host2", "dest_node": "host2", "instance_uuid": self.server,
                "dest_host": None, "dest_compute_id": None, "old_instance_type_id": SMALL,
                "new_instance_type_id": LARGE, "cross_cell_move": True,
            }}  # fmt: skip

    def _attach(self):
        """A volume that host1 has connected."""
        with self.ledger.open() as content:
            content["cinder"] = cinder_with_volume(self.server, "host1")
        with self.source.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                **MAPPING, "instance_uuid": self.server, "connection_info": json.dumps(CONNECTION),
            }  # fmt: skip

    def copy(self):
        """The record of the new cell, and what it needs of ports and volumes."""
        tables = self.source.conductor.read()
        with self.dest.conductor.database() as other:
            for name in ("Instance", "InstanceInfoCache", "BlockDeviceMapping", "VirtualInterface"):
                other[name] = tables.get(name, {})
            other["Instance"][self.server].update(hidden=True, new_flavor=self.flavor)
            other["Migration"] = {str(NEW): {**tables["Migration"][str(OLD)], "id": NEW}}
            if "2" in other["BlockDeviceMapping"]:
                other["BlockDeviceMapping"]["2"]["attachment_id"] = OTHER
        with self.ledger.open() as content:
            content["beside"] = {port: ["host2"] for port in content["ports"]}
            if "cinder" in content:
                content["cinder"]["attachments"][OTHER] = {
                    "id": OTHER, "status": "reserved", "instance": self.server,
                    "volume_id": VOLUME, "mountpoint": None, "connector": None,
                    "connection_info": {},
                }  # fmt: skip

    def prep_dest(self, **more):
        """The first call; then nova-conductor tells the old cell of the answer."""
        answer = self.call("host2", "prep_snapshot_based_resize_at_dest", **self.prep(), **more)
        if isinstance(answer, Exception):
            return answer
        for host in (self.dest, self.source):
            row = self.row(host)
            kept = {**row["system_metadata"], "old_vm_state": row["vm_state"]}
            self.set(host, system_metadata=kept)
        context = copy.deepcopy(answer)
        context["nova_object.data"]["migration_id"] = OLD
        self.set(self.source, migration_context=context)
        return answer

    def prep(self):
        return {"flavor": self.flavor, "nodename": "host2", "limits": None,
                "migration": self.migration(self.dest)}  # fmt: skip

    def ready_source(self, image=True):
        """What nova-conductor does before the second call; its arguments."""
        if image:
            self.source.images.await_upload(SNAPSHOT)
        self.set(self.source, task_state="resize_migrating", new_flavor=self.flavor,
                 old_flavor=self.row(self.source)["flavor"])  # fmt: skip
        return {"migration": self.migration(self.source),
                "snapshot_id": SNAPSHOT if image else None}  # fmt: skip

    def ready_dest(self, image=True):
        """The same of the third call."""
        self.set(self.dest, task_state="resize_migrated")
        return {"migration": self.migration(self.dest),
                "snapshot_id": SNAPSHOT if image else None}  # fmt: skip

    def take_over(self):
        """The record of the new cell is the one that users see."""
        self.set(self.dest, hidden=False)
        self.set(self.source, hidden=True)

    def give_up(self):
        """nova-conductor takes the move back, at any time."""
        with self.dest.conductor.database() as tables:
            for name in ("Instance", "Migration", "BlockDeviceMapping", "VirtualInterface"):
                tables[name] = {}
        with self.ledger.open() as content:
            for port, hosts in content["beside"].items():
                content["beside"][port] = [host for host in hosts if host != "host2"]
                if content["bound"].get(port) == "host2":
                    del content["bound"][port]
            content.get("cinder", {}).get("attachments", {}).pop(OTHER, None)
            held = content["allocations"].pop(MIGRATION, None)
            if held:
                content["allocations"][self.server] = held
        self.source.images.delete(None, SNAPSHOT)
        self.set(self.source, task_state=None)
        self.end(self.source, status="error")

    def moved(self):
        """The whole way."""
        self.copy()
        assert not isinstance(self.prep_dest(), Exception)
        assert self.call("host1", "prep_snapshot_based_resize_at_source",
                         **self.ready_source()) is None  # fmt: skip
        assert self.call("host2", "finish_snapshot_based_resize_at_dest",
                         **self.ready_dest()) is None  # fmt: skip
        self.take_over()
        return self

    def to_revert(self):
        """What nova-api and nova-conductor do before the first call of a revert."""
        self.set(self.dest, task_state="resize_reverting", hidden=True)
        self.set(self.source, task_state="resize_reverting", hidden=False)
        for host in (self.source, self.dest):
            self.end(host, status="reverting")
        return {"migration": self.migration(self.dest)}

    def forget(self, host):
        """A record is deleted altogether."""
        with host.conductor.database() as tables:
            for name in ("Instance", "Migration", "BlockDeviceMapping"):
                tables[name] = {}

    # --- the hosts --------------------------------------------------------------------------
    def call(self, name, method, observer=None, request="req-1", late=None, **arguments):
        """Carry it out in a new process: the answer, or the error that the caller gets.

        :param late: the boundary at which the caller gives up waiting
        """
        host, entries = self.hosts[name], []

        def watch(boundary):
            if observer is not None:
                observer(boundary)
            if boundary == late:
                entries[0].caller_waits_until = 0.0

        agent = self.agent(name, watch)
        entries.append(self._accept(agent, host, method, request, arguments))
        if entries[0] is None:
            return None  # asked before
        if late == "":
            entries[0].caller_waits_until = 0.0
        agent.engine.start(entries[0])
        assert agent.engine.settle(60)
        return entries[0].answer.exception(1) or entries[0].answer.result()

    def begin(self, name, method, request, **arguments):
        """The same of what nobody waits for."""
        agent = self.agent(name)
        agent.engine.start(self._accept(agent, self.hosts[name], method, request, arguments))
        assert agent.engine.settle(60)

    def agent(self, name, observer=None):
        made = self.last = self.hosts[name].agent(observer)
        return made

    def _accept(self, agent, host, method, request, arguments):
        instance = Instances(host.conductor).get(RequestContext.admin(), self.server)
        return agent.engine.accept(
            method, RequestContext({"request_id": request}), self.server,
            {"instance": instance, **wrap(copy.deepcopy(arguments))},
        )  # fmt: skip

    # --- what is there ----------------------------------------------------------------------
    def row(self, host):
        return host.conductor.instance(self.server)

    def set(self, cell, **fields):
        if self.row(cell) is not None:
            cell.conductor.set(self.server, **fields)

    def migration(self, host):
        (row,) = host.conductor.read()["Migration"].values()
        made = WireObject.new("Migration", "1.8", **row)
        made.clear_changes()
        return unwrap(made)

    def end(self, host, **fields):
        """Somebody changes the migration."""
        with host.conductor.database() as tables:
            for row in tables["Migration"].values():
                row.update(fields)

    def state(self, host):
        row = self.row(host) or {}
        names = ("host", "vm_state", "task_state", "instance_type_id")
        return tuple(row.get(name) for name in names)

    def cinder(self):
        rows = self.ledger.read().get("cinder", {}).get("attachments", {}).values()
        return sorted((row["status"], (row["connector"] or {}).get("host")) for row in rows)

    def faults(self, host):
        return [row["message"] for row in
                host.conductor.read().get("InstanceFault", {}).values()]  # fmt: skip

    def bindings(self):
        """Hosts of the active and of the inactive bindings."""
        content = self.ledger.read()
        return sorted(content["bound"].values()), sorted(sum(content["beside"].values(), []))

    def disk(self, name):
        """Content of the root disk on a host; None without one."""
        path = self.hosts[name].state / "instances" / self.server / "disk"
        return path.read_bytes()[:16] if path.exists() else None

    def connected(self, name):
        """How many volumes are connected to a host."""
        return len(list((self.hosts[name].state / "connected").glob("*")))

    def guest(self, name):
        found = self.hosts[name].hypervisor.guests.get(self.server)
        return None if found is None else found.state.name

    def look(self):
        """What users and operators see, in all places."""
        content = self.ledger.read()
        seen = {
            "bindings": self.bindings(), "cinder": self.cinder(), "held": {
                {self.server: "server"}.get(who, who): what
                for who, what in content["allocations"].items()
            },
        }  # fmt: skip
        for name, host in self.hosts.items():
            instances = host.state / "instances" / self.server
            migrations = host.conductor.read().get("Migration", {}).values()
            seen[name] = {
                "record": self.state(host), "guest": self.guest(name),
                "taps": len(host.vifs.ports), "faults": self.faults(host),
                "connected": self.connected(name),
                "migration": [row["status"] for row in migrations],
                "files": sorted(path.name for path in instances.glob("*")),
                "journal": sorted(path.name for path in host.journal.glob("*.journal")),
            }  # fmt: skip
        return seen


def image_of(cells):
    """Whether there is a snapshot."""
    return (cells.source.images.directory / SNAPSHOT).exists()
