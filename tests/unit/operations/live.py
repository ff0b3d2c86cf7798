"""Two hosts with one cloud, and a running server that goes from the first to the second one.

The second one is what it answers to the first: its own operations have tests of their own.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

from nova_lite.operations.abort_live_migration import AbortLiveMigration
from nova_lite.operations.force_live_migration import ForceLiveMigration
from nova_lite.operations.live_migration import LiveMigration
from nova_lite.operations.settle_live_migration import SettleLiveMigration
from nova_lite.rpc import endpoint
from nova_lite.services import migrate_data
from nova_lite.services.arrivals import MARK
from nova_lite.services.disk_files import CONFIG_DRIVE
from nova_lite.wire import network_info
from nova_lite.wire.objects import unwrap, wrap
from tests.unit.operations.host import ATTACHMENT, VOLUME
from tests.unit.operations.two_hosts import MIGRATION, NODE, TwoHosts

TARGET_URI = "qemu+tcp://host2/system"
NEW_ATTACHMENT = "99999999-2222-3333-4444-555555555555"
VERBS = {
    **endpoint.VERBS,
    "live_migration": LiveMigration,
    "live_migration_abort": AbortLiveMigration,
    "live_migration_force_complete": ForceLiveMigration,
    "settle_live_migration": SettleLiveMigration,
}


class LiveHosts(TwoHosts):
    """``shared``: both have the server's directory; else its disks are copied. ``waits``: the other
    host wants to be waited for until its ports are wired up. ``stock``: it has nova-compute."""

    def __init__(self, directory, *, shared=False, waits=False, stock=False,
                 target_connect_addr=None, **options):  # fmt: skip
        self.shared, self.waits, self.stock = shared, waits, stock
        self.address = target_connect_addr
        self.details = {"ovs_create_tap": True}  # of the bindings to the other host
        self.clock = None
        super().__init__(directory, **options)
        self.source.hypervisor.hypervisors[TARGET_URI] = self.dest.hypervisor
        self.peers.answers["host2"] = {
            "pre_live_migration": self.prepare,
            "post_live_migration_at_destination": self.finish,
            "remove_volume_connection": self.disconnect,
            "rollback_live_migration_at_destination": self.roll_back,
            "drop_move_claim_at_destination": None,
            "check_instance_shared_storage": self.has_file,
        }
        self.prepared, self.rolled_back, self.finished = 0, 0, 0

    def _begin(self, fields, target):
        """What nova-api and the conductor have done."""
        self.set(task_state="migrating", progress=0, compute_id=1, old_flavor=None,
                 new_flavor=None, numa_topology=None, migration_context=None)  # fmt: skip
        with self.ledger.open() as content:
            content["allocations"] = {
                self.server: {"host2": {"VCPU": 1}}, MIGRATION: {"host1": {"VCPU": 1}},
            }  # fmt: skip
            content["beside"] = {port: ["host2"] for port in content["ports"]}
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": {
                "id": 7, "uuid": MIGRATION, "status": "accepted", "deleted": False,
                "migration_type": "live-migration", "source_compute": "host1",
                "source_node": "host1", "dest_compute": "host2", "dest_node": NODE,
                "instance_uuid": self.server, "dest_host": None, "dest_compute_id": None,
                "old_instance_type_id": 1, "new_instance_type_id": 1, "memory_total": None,
                "memory_processed": None, "memory_remaining": None, "disk_total": None,
                "disk_processed": None, "disk_remaining": None,
            }}  # fmt: skip
            tables["ComputeNode"] = {"2": {
                "id": 2, "host": "host2", "hypervisor_hostname": NODE, "deleted": False,
            }}  # fmt: skip

    def _attach(self):
        """A volume that the guest has."""
        source = self.source
        agent = source.agent()
        source.send(agent, "attach_volume", request="req-attach", bdm=source.reserve_volume())
        assert agent.engine.settle(60)
        with self.conductor.database() as tables:
            tables["events"] = []
        self.set(task_state="migrating")

    def connected(self, host):
        return sorted(path.name.partition(".")[0] for path in (host.state / "connected").iterdir())

    # --- the other host ---------------------------------------------------------------------
    def data(self):
        """As the conductor sends it, after the check."""
        vifs = network_info.load(
            self.conductor.read()["InstanceInfoCache"][self.server]["network_info"]
        )
        made = migrate_data.skeleton(vifs)
        for row, vif in zip(made, vifs, strict=True):
            row.set(host="host2", vif_type="ovs", vnic_type="normal",
                    vif_details_json=json.dumps({**vif.details, **self.details}))  # fmt: skip
        return migrate_data.new(
            filename="tmp", image_type="qcow2", block_migration=not self.shared,
            disk_over_commit=False, disk_available_mb=1000, is_volume_backed=False,
            is_shared_instance_path=self.shared, is_shared_block_storage=self.shared,
            instance_relative_path=self.server, graphics_listen_addr_vnc="127.0.0.2",
            graphics_listen_addr_spice=None, serial_listen_addr=None,
            dst_wants_file_backed_memory=False, dst_cpu_shared_set_info=[], vifs=made,
            target_connect_addr=self.address,
        )  # fmt: skip

    def prepare(self, arguments):
        """pre_live_migration: attachments of its own, and the mappings say how it is connected."""
        self.prepared += 1
        self._make_directory()
        data = wrap(copy.deepcopy(unwrap(arguments["migrate_data"])))
        volumes = []
        with self.ledger.open() as content, self.conductor.database() as tables:
            attachments = content.get("cinder", {}).get("attachments", {})
            if attachments:
                attachments[NEW_ATTACHMENT] = {
                    **attachments[ATTACHMENT], "id": NEW_ATTACHMENT, "connector": {"host": "host2"}
                }
                row = tables["BlockDeviceMapping"]["2"]
                row["attachment_id"] = NEW_ATTACHMENT
                connection = json.loads(row["connection_info"])
                connection["data"]["by"] = "host2"
                row["connection_info"] = json.dumps(connection)
                volumes.append(migrate_data.MovedVolume(VOLUME, "vdb", "virtio"))
        if volumes:
            migrate_data.write_volumes(data, volumes)
        data.set(wait_for_vif_plugged=self.waits)
        return data

    def _make_directory(self):
        """nova-compute makes empty files of the size that it was told, and no mark."""
        if self.shared:
            return
        there = self.instances(self.dest) / self.server
        there.mkdir(parents=True, exist_ok=True)
        size = (self.instances(self.source) / self.server / CONFIG_DRIVE).stat().st_size
        made = there / (CONFIG_DRIVE if self.stock else MARK)
        if not made.exists():
            made.write_bytes(bytes(size))

    def has_file(self, arguments):
        """Hosts have the files of a server at the same path; here each has its own instances."""
        path = Path(arguments["data"]["filename"])
        there = self.instances(self.dest) / path.relative_to(self.instances(self.source))
        return there.exists()

    def finish(self, arguments):
        """post_live_migration_at_destination."""
        self.finished += 1
        self.set(host="host2", node=NODE, compute_id=2, task_state=None, progress=0,
                 migration_context=None)  # fmt: skip
        with self.ledger.open() as content:
            content["beside"] = {}

    def disconnect(self, arguments):
        pass

    def roll_back(self, arguments):
        self.rolled_back += 1
        if not self.shared:
            shutil.rmtree(self.instances(self.dest) / self.server)

    # --- the verbs --------------------------------------------------------------------------
    def request(self):
        return {
            "dest": "host2", "block_migration": not self.shared, "migration": self._migration(),
            "migrate_data": unwrap(self.data()),
        }  # fmt: skip

    def go(self, observer=None):
        return self.run(self.source, "live_migration", observer, **self.request())

    def parts(self):
        return {**super().parts(), **({"clock": self.clock} if self.clock else {})}

    def begin(self):
        """It goes on in the background."""
        agent = self.source.agent(**self.parts())
        self.agents["host1"] = agent
        self.source.send(agent, "live_migration", **self.request())
        return agent

    def ask(self, agent, method, **arguments):
        self.source.send(agent, method, request=f"req-{method}", **arguments)

    def killed(self, boundary):
        """Carry it out until the source's process is killed at ``boundary``."""
        usual = self.source.agent
        self.source.agent = lambda observer=None, **more: usual(
            observer, **{**self.parts(), **more}
        )
        try:
            self.source.killed(boundary, "live_migration", **self.request())
        finally:
            self.source.agent = usual
        self.source.hypervisor.forget_migrations()

    def resume(self):
        agent = self.source.agent(**self.parts())
        agent.engine.resume()
        assert agent.engine.settle(60)
        return agent

    def boundaries(self):
        seen = []
        self.go(seen.append)
        return seen

    # --- what is there ----------------------------------------------------------------------
    def look(self):
        seen = super().look()
        seen["activated"] = self.ledger.read().get("activated", [])
        seen["beside"] = {k: v for k, v in self.ledger.read().get("beside", {}).items() if v}
        return seen

    def mapping(self):
        return self.conductor.read()["BlockDeviceMapping"]["2"]



