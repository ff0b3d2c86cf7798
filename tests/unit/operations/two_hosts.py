"""Two hosts with one cloud, and a server that goes from the first to the second one."""

from __future__ import annotations

import copy
import json

from nova_lite.wire.objects import WireObject, unwrap
from tests.fakes.agent import stand_ins
from tests.fakes.conf_file import read_conf
from tests.fakes.peers import FakePeers
from tests.fakes.remote_files import FakeRemoteFiles
from tests.unit.operations.host import MAPPING, VOLUME, Host, Moving, cinder_with_volume

MIGRATION = "cccccccc-2222-3333-4444-555555555555"
OLD, NEW = 1, 2  # ids of the flavors
RETRY = {"retry": {"num_attempts": 1, "hosts": [["host2", "host2"]]}}
NODE = "fake.example"  # of the stand-ins for both


class Target(Host):
    """Another host with the cloud of ``first``."""

    def __init__(self, directory, first):
        self.first = first
        super().__init__(directory)
        self.ledger, self.conductor, self.images = first.ledger, first.conductor, first.images
        self.server = first.server
        options = {
            "DEFAULT": {"state_path": str(directory), "my_ip": "127.0.0.2", "host": "host2",
                        "shutdown_timeout": 1},
            "libvirt": {"virt_type": "qemu", "cpu_mode": "none",
                        "snapshots_directory": f"{directory}/snapshots"},
        }  # fmt: skip
        self.conf = read_conf(directory, options)

    def agent(self, observer=None, **replaced):
        around = stand_ins(self.state, self.first.state, "host2")
        keep = ("placement", "ports", "manila", "volumes", "shares", "connector", "cinder")
        return super().agent(observer, **{**{name: around[name] for name in keep}, **replaced})


class TwoHosts(Moving):
    """``flavor`` are fields of the new flavor; ``fields`` some of the server's record."""

    def __init__(self, directory, *, same=False, volume=False, flavor=None, old=None, conf=(),
                 **fields):  # fmt: skip
        self.source = Host(directory / "host1")
        self.server, self.conductor = self.source.server, self.source.conductor
        self.ledger = self.source.ledger
        self._old_flavor(old or {})
        for host, options in conf:
            if host == "host1":
                self._configure(self.source, options)
        self.source.boot()
        self.dest = self.source if same else Target(directory / "host2", self.source)
        for host, options in conf:
            if host == "host2":
                self._configure(self.dest, options)
        self.remote = FakeRemoteFiles(self.instances(self.source), self.instances(self.dest))
        self.peers = FakePeers(
            host1={}, host2={"drop_move_claim_at_destination": None}
        )  # fmt: skip
        self.agents = {}
        self._begin(flavor or {}, "host1" if same else "host2")
        if volume:
            self._attach()
        # The messages know the image as Glance has it, and the records a copy of that.
        kept = self.row("system_metadata")
        self.set(system_metadata={**kept, "image_disk_format": "raw"}, **fields)

    @staticmethod
    def _configure(host, options):
        for name, value in options.items():
            host.conf.set_override(name, value)

    def _old_flavor(self, fields):
        flavor = self.conductor.instance(self.server)["flavor"]
        flavor["nova_object.data"].update(
            {"id": OLD, "swap": 0, "ephemeral_gb": 0, "root_gb": 1, **fields}
        )
        self.set(flavor=flavor, instance_type_id=OLD)

    def _begin(self, fields, target):
        """What nova-api and the conductor have done."""
        flavor = copy.deepcopy(self.row("flavor"))
        flavor["nova_object.data"].update({"id": NEW, "name": "new", "vcpus": 2, **fields})
        self.flavor = flavor
        self.set(task_state="resize_prep", old_flavor=None, new_flavor=None, progress=0,
                 compute_id=1)  # fmt: skip
        with self.ledger.open() as content:
            content["allocations"] = {
                self.server: {target: {"VCPU": 2}}, MIGRATION: {"host1": {"VCPU": 1}},
            }  # fmt: skip
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": {
                "id": 7, "uuid": MIGRATION, "status": "pre-migrating", "deleted": False,
                "migration_type": "resize", "source_compute": "host1", "source_node": "host1",
                "dest_compute": target, "dest_node": target, "instance_uuid": self.server,
                "dest_host": None, "dest_compute_id": None, "old_instance_type_id": OLD,
                "new_instance_type_id": flavor["nova_object.data"]["id"],
            }}  # fmt: skip

    def _attach(self):
        """A volume that host1 has connected."""
        with self.ledger.open() as content:
            content["cinder"] = cinder_with_volume(self.server, "host1")
        connection = {"driver_volume_type": "file", "data": {"name": VOLUME}, "serial": VOLUME}
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                **MAPPING, "instance_uuid": self.server, "connection_info": json.dumps(connection),
            }  # fmt: skip

    # --- the verbs --------------------------------------------------------------------------
    def host(self, name):
        return self.source if name == "host1" else self.dest

    def migration(self):
        return self.conductor.read()["Migration"]["7"]

    def _migration(self):
        made = WireObject.new("Migration", "1.8", **self.migration())
        made.clear_changes()
        return unwrap(made)

    def prep(self, *, properties=RETRY, hosts=()):
        """What the conductor sends to the host that is to get the server."""
        return {
            "migration": self._migration(), "flavor": self.flavor, "request_spec": None,
            "filter_properties": properties, "clean_shutdown": True, "host_list": list(hosts),
            "image": {}, "node": NODE,
        }  # fmt: skip

    def parts(self):
        return {"peers": self.peers, "remote_files": lambda address, name: self.remote}

    def run(self, host, method, observer=None, **arguments):
        """Carry it out in a new process."""
        agent = host.agent(observer, **self.parts())
        self.agents[host.conf.host] = agent
        host.send(agent, method, **arguments)
        assert agent.engine.settle(60)
        return agent

    def deliver(self, message):
        """A message from one host to another."""
        name, method, arguments = message
        arguments = {key: unwrap(value) for key, value in arguments.items() if key != "instance"}
        return self.run(self.host(name), method, **copy.deepcopy(arguments))

    def asked(self, method):
        """The first message with that method."""
        return next(message for message in self.peers.sent if message[1] == method)

    def move(self, until=None):
        """The whole way, or up to a verb that is left out."""
        self.run(self.dest, "prep_resize", **self.prep())
        for method in ("resize_instance", "finish_resize"):
            if method == until:
                return
            self.deliver(self.asked(method))

    # --- what is there ----------------------------------------------------------------------
    def set_migration(self, **fields):
        with self.conductor.database() as tables:
            tables["Migration"]["7"].update(fields)

    def flavor_ids(self):
        def of(name):
            flavor = self.row(name)
            return flavor and flavor["nova_object.data"]["id"]

        return of("flavor"), of("old_flavor"), of("new_flavor")

    def look(self):
        """What users and operators see, in all places."""
        content = self.ledger.read()
        hosts = {"host1": self.source, "host2": self.dest}
        seen = {
            "state": self.state(), "flavors": self.flavor_ids(), "progress": self.row("progress"),
            "context": bool(self.row("migration_context")), "power": self.row("power_state"),
            "migration": self.migration()["status"], "allocations": {
                {self.server: "server"}.get(consumer, consumer): held
                for consumer, held in content["allocations"].items()
            },
            "bound": sorted(set(content["bound"].values())), "faults": sorted(set(self.faults())),
            "ended": self.ended(),
        }  # fmt: skip
        if "cinder" in content:
            seen["cinder"] = self.cinder()
        for name, host in hosts.items():
            seen[name] = {
                "files": self.files(host), "guest": self.guest(host), "taps": len(host.vifs.ports),
                "journal": sorted(path.name for path in host.journal.glob("*.journal")),
            }  # fmt: skip
        return seen
