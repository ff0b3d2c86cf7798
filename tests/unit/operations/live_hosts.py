"""Two hosts with one cloud, and a server that goes from the first to the second one as it runs.

The source is only as far there as the target has to do with it: it answers, and its hypervisor
sends the guest.
"""

from __future__ import annotations

import copy
import json

from nova_lite.conductor.instances import Instances
from nova_lite.errors import PeerUnavailable
from nova_lite.model.live_migration import LiveMigration
from nova_lite.peers.methods import METHODS
from nova_lite.services import live_disks, migrate_data
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, unwrap, wrap
from tests.fakes.remote_files import FakeRemoteFiles
from tests.unit.operations.host import (
    ATTACHMENT,
    MAPPING,
    VOLUME,
    Host,
    Moving,
    cinder_with_volume,
)
from tests.unit.operations.two_hosts import MIGRATION, Target

URI = "qemu+tcp://host2/system"
LIVE = "live-migration"
CHECK = "check_can_live_migrate_destination"
PRE = "pre_live_migration"
POST = "post_live_migration_at_destination"
ROLLBACK = "rollback_live_migration_at_destination"


class Source:
    """Answers as host1 does, by its real operation; ``away``: it does not."""

    def __init__(self, hosts):
        self.hosts, self.away, self.asked, self.offered = hosts, False, [], None
        self.services = {}

    def reports(self, context, host, service):
        return self.services.get(host, 74) >= service

    def call(self, context, host, method, **arguments):
        assert set(arguments) == set(METHODS[method].arguments)
        self.asked.append((host, method))
        self.offered = arguments.get("dest_check_data")
        if self.away:
            raise PeerUnavailable(f"host {host} did not answer {method}")
        arguments = {name: unwrap(value) for name, value in arguments.items()
                     if name != "instance"}  # fmt: skip
        return wrap(self.hosts.ask(self.hosts.source, method, **arguments))


class LiveHosts(Moving):
    """``fields`` are some of the server's record; ``shared``: the hosts have one instances_path;
    ``cluster``: their disks are in one, too."""

    def __init__(self, directory, *, volume=False, shared=False, conf=(), **fields):
        self.source = Host(directory / "host1")
        self.server, self.conductor = self.source.server, self.source.conductor
        self.ledger = self.source.ledger
        self.conf_of(self.source, conf)
        self.source.boot()
        self.dest = Target(directory / "host2", self.source)
        self.conf_of(self.dest, conf)
        if shared:
            self.dest.conf.set_override("instances_path", str(self.instances(self.source)))
        self.remote = FakeRemoteFiles(self.instances(self.source), self.instances(self.dest))
        self.source.hypervisor.hypervisors[URI] = self.dest.hypervisor
        self.peers = Source(self)
        self.requests, self.lacking = 0, ()
        self._begin()
        if volume:
            self._attach()
        kept = self.row("system_metadata")
        self.set(system_metadata={**kept, "image_disk_format": "raw"}, **fields)

    @staticmethod
    def conf_of(host, options):
        for name, value in options:
            group, _, option = name.rpartition(".")
            host.conf.set_override(option, value, group or None)

    def _begin(self):
        """What nova-api and the conductor have done."""
        self.set(task_state="migrating", host="host1", node="host1", compute_id=1, progress=0)
        with self.ledger.open() as content:
            content["allocations"] = {
                self.server: {"host2": {"VCPU": 1}}, MIGRATION: {"host1": {"VCPU": 1}},
            }  # fmt: skip
            content["bound"] = dict.fromkeys(content["ports"], "host1")
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": {
                "id": 7, "uuid": MIGRATION, "status": "preparing", "deleted": False,
                "migration_type": LIVE, "source_compute": "host1", "source_node": "host1",
                "dest_compute": "host2", "dest_node": "host2", "instance_uuid": self.server,
                "dest_host": None, "dest_compute_id": None, "old_instance_type_id": 1,
                "new_instance_type_id": 1,
            }}  # fmt: skip
            tables["events"] = []

    def _attach(self):
        """A volume that host1 has connected, and its guest uses."""
        with self.ledger.open() as content:
            content["cinder"] = cinder_with_volume(self.server, "host1")
        self.connection = {
            "driver_volume_type": "file", "data": {"name": VOLUME, "device_path": "/there"},
            "serial": VOLUME,
        }  # fmt: skip
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                **MAPPING, "instance_uuid": self.server,
                "connection_info": json.dumps(self.connection),
            }  # fmt: skip

    # --- agents -----------------------------------------------------------------------------
    def parts(self):
        return {"peers": self.peers, "remote_files": lambda address, name: self.remote}

    def agent(self, host, observer=None, **more):
        return host.agent(observer, **{**self.parts(), **more})

    def ask(self, host, method, observer=None, request=None, agent=None, **arguments):
        """Its answer, or the error that the caller gets; in a new process."""
        agent = agent or self.agent(host, observer)
        if request is None:
            self.requests += 1
            request = f"req-{self.requests}"
        instance = Instances(self.conductor).get(RequestContext.admin(), self.server)
        for field in self.lacking:
            del instance.data[field]
        asked = {"instance": instance, **wrap(copy.deepcopy(arguments))}
        context = RequestContext({"request_id": request})
        entry = agent.engine.accept(method, context, self.server, asked)
        if entry is None:
            return agent.engine.answer_to(method, context, self.server, asked).result(10)
        agent.engine.start(entry)
        assert agent.engine.settle(60)
        self.last = agent  # of the outermost, where one asks the other
        return entry.answer.result(0)

    # --- the verbs --------------------------------------------------------------------------
    def migration(self):
        return self.conductor.read()["Migration"]["7"]

    def check_arguments(self, *, block=None, over_commit=None, limits=None):
        migration = WireObject.new("Migration", "1.8", **self.migration())
        migration.clear_changes()
        return {"block_migration": block, "disk_over_commit": over_commit,
                "migration": unwrap(migration), "limits": limits}  # fmt: skip

    def check(self, **asked):
        return wrap(self.ask(self.dest, CHECK, **self.check_arguments(**asked)))

    def bind(self, data):
        """What the conductor does with the answer: the ports get bindings for host2."""
        with self.ledger.open() as content:
            for vif in data["vifs"]:
                vif.set(vif_type="ovs", vnic_type="normal", profile_json="{}",
                        vif_details_json=json.dumps({"bridge_name": "br-two"}))  # fmt: skip
                content.setdefault("beside", {}).setdefault(vif["port_id"], []).append("host2")
        return data

    def disk_info(self, data):
        if not migrate_data.copies_disks(data):
            return None
        return json.dumps(self.told())

    def told(self):
        """The disks as the source tells of them."""
        return live_disks.described(self.work(self.agent(self.source)))

    def work(self, agent):
        """As an operation of the agent has it."""
        notes = {}
        instance = Instances(self.conductor).get(RequestContext.admin(), self.server)
        return Work(RequestContext.admin(), agent.tools, instance, {}, notes,
                    lambda **values: notes.update(values))  # fmt: skip

    def checked(self, **asked):
        """Arguments of pre_live_migration, after the check."""
        data = self.bind(self.check(**asked))
        return {"disk": self.disk_info(data), "migrate_data": unwrap(data)}

    def pre(self, arguments, **more):
        return wrap(self.ask(self.dest, PRE, **arguments, **more))

    def arrive(self):
        """libvirt brings the guest; the source lets the ports be the other host's."""
        definition = self.source.hypervisor.live_definition(self.server)
        self.source.hypervisor.migrate(self.server, LiveMigration(URI, definition))
        self.source.hypervisor.arrive(self.server)

    def begin_to_arrive(self):
        definition = self.source.hypervisor.live_definition(self.server)
        self.source.hypervisor.migrate(self.server, LiveMigration(URI, definition))

    def post(self, **more):
        return self.ask(self.dest, POST, block_migration=False, **more)

    def rollback(self, data, **more):
        return self.ask(self.dest, ROLLBACK, destroy_disks=True, migrate_data=data, **more)

    # --- what is there ----------------------------------------------------------------------
    def mapping(self):
        return self.conductor.read()["BlockDeviceMapping"]["2"]

    def connected(self, host):
        """Volumes of the server."""
        found = (host.state / "connected").glob(f"*.{self.server}")
        return sorted(path.stem for path in found)

    def claims(self, agent=None):
        held = (agent or self.last).tools.claims._claims
        return sorted(role.value for server, role in held if server == self.server)

    def look(self):
        """What there is of the server on the target, and in the records."""
        content = self.ledger.read()
        seen = {
            "state": self.state(), "power": self.row("power_state"),
            "numa": bool(self.row("numa_topology")), "context": self.row("migration_context"),
            "bound": sorted(set(content["bound"].values())),
            "beside": sorted({host for hosts in content.get("beside", {}).values()
                              for host in hosts}),
            "migrating_to": sorted(content.get("migrating_to", {}).values()),
            "files": self.files(self.dest),
            "guest": self.guest(self.dest), "taps": len(self.dest.vifs.ports),
            "connected": self.connected(self.dest),
            "journal": sorted(path.name for path in self.dest.journal.glob("*.journal")),
        }  # fmt: skip
        if "cinder" in content:
            seen["cinder"] = self.cinder()
            seen["attachment"] = self.mapping()["attachment_id"] == ATTACHMENT
            kept = json.loads(self.mapping()["connection_info"])
            seen["there"] = kept["data"].get("device_path") == "/there"
        return seen

