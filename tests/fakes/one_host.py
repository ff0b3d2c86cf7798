"""One agent in this process, with a cloud of fakes: its engine, its records, its guests."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path

from nova_lite.composition import Composition
from nova_lite.conductor.instances import Instances
from nova_lite.conf import load
from nova_lite.errors import NovaLiteError
from nova_lite.model.volume import Connection
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap
from tests.fakes.agent import stand_ins
from tests.fakes.cloud import Ledger
from tests.fakes.volume_driver import FakeVolumeDrivers, FileVolumes

RECORDED = Path(__file__).parents[1] / "wire/data/methods/build_and_run_instance.json"
IMAGE = "11111111-2222-3333-4444-555555555555"
VOLUME = "66666666-2222-3333-4444-555555555555"
MIB = 1024**2
CONF = """[DEFAULT]
host = host1
my_ip = 127.0.0.1
state_path = {state}
instances_path = {state}/instances
shutdown_timeout = 1
force_config_drive = false
[libvirt]
virt_type = qemu
cpu_mode = none
"""


def recorded():
    """The arguments of a recorded boot."""
    return json.loads(RECORDED.read_text())[0]["request"]["args"]


def boot_arguments():
    """A boot from an image, with one port."""
    arguments = recorded()
    del arguments["instance"]
    arguments["image"].update(id=IMAGE, disk_format="raw", size=MIB, properties={})
    mapping = arguments["block_device_mapping"]["nova_object.data"]["objects"][0]
    mapping["nova_object.data"].update(
        source_type="image", destination_type="local", boot_index=0, device_name=None,
        volume_id=None, snapshot_id=None, device_type="disk", disk_bus=None, guest_format=None,
        image_id=IMAGE, id=1, tag=None,
    )  # fmt: skip
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [mapping]
    networks = arguments["requested_networks"]["nova_object.data"]
    networks["objects"] = networks["objects"][:1]
    return arguments


class Peers:
    """Other hosts, which have their own disks; ``shared`` names those that have this one's, and
    ``away`` those that do not answer. ``asked`` is what they were asked."""

    def __init__(self):
        self.shared, self.away, self.asked = set(), set(), []

    def call(self, context, host, method, **arguments):
        self.asked.append((host, method))
        assert method == "check_instance_shared_storage"
        assert Path(arguments["data"]["filename"]).exists()
        if host in self.away:
            raise NovaLiteError(f"host {host} does not answer")
        return host in self.shared


class OneHost:
    """Host ``host1`` with all its collaborators; ``restart`` makes the next agent process."""

    def __init__(self, state: Path):
        self.state = state
        (state / "instances").mkdir()
        (state / "nova.conf").write_text(CONF.format(state=state))
        self.conf = load.load(["--config-file", str(state / "nova.conf")], "test")
        self.ledger = Ledger(state / "cloud.json")
        self.volumes = FileVolumes(state)
        self._parts = {**stand_ins(state), "volumes": FakeVolumeDrivers(self.volumes)}
        self.hypervisor, self.conductor = self._parts["hypervisor"], self._parts["conductor"]
        self.vifs = self._parts["vif_driver"]
        self._parts["image_store"].add(IMAGE, b"".ljust(MIB, b"\0"))
        self.peers = self._parts["peers"] = Peers()
        self.engine = None
        self.restart()

    def restart(self, observer=None):
        """A new agent process: what was only in memory is gone."""
        if self.engine is not None:
            # Two of them at once are on no host: the journal's lock sees to that.
            assert self.engine.settle(30), "the process before is still at work"
        composed = self.composed = Composition(self.conf, observer=observer, **self._parts)
        self.tools = composed.toolbox(self.hypervisor.facts(), "host1", 1)
        self.engine = composed.engine(self.tools)

    # --- the cloud --------------------------------------------------------------------------
    def schedule(self):
        """A server that is to be built here; returns its uuid."""
        instance, server = copy.deepcopy(recorded()["instance"]), str(uuid.uuid4())
        number = len(self.conductor.read().get("Instance", {})) + 1
        instance["nova_object.data"].update(
            uuid=server, id=number, user_data=None, image_ref=IMAGE, system_metadata={},
            vm_state="building", task_state="scheduling", host=None,
        )  # fmt: skip
        instance["nova_object.data"]["flavor"]["nova_object.data"]["memory_mb"] = 32
        self.conductor.add_instance(instance)
        with self.ledger.open() as content:
            content.setdefault("allocations", {})[server] = {"host1": {"VCPU": 1}}
        return server

    def boot(self):
        """A server that runs here; returns its uuid."""
        server, arguments = self.schedule(), boot_arguments()
        self.send("build_and_run_instance", server, **arguments)
        self.settle()
        row = arguments["block_device_mapping"]["nova_object.data"]["objects"][0]
        with self.conductor.database() as tables:
            saved = tables.get("BlockDeviceMapping", {}).get("1", {})
            tables["BlockDeviceMapping"] = {
                "1": {**row["nova_object.data"], "instance_uuid": server, **saved}
            }
            tables["events"] = []
        assert self.row(server) == ("host1", "active", None, 1)
        return server

    def evacuate(self, server, status="done", **fields):
        """What the API, the scheduler and host2 do of an evacuation up to a status."""
        over = status in ("done", "completed")
        fields = {"task_state": None if over else "rebuilding", "vm_state": "active", **fields}
        if over:
            fields = {"host": "host2", "node": "host2", "power_state": 1, **fields}
        self.conductor.set(server, **fields)
        with self.ledger.open() as content:
            content["allocations"][server] = {"host1": {"VCPU": 1}, "host2": {"VCPU": 1}}
        return self.migrate(server, status, "evacuation")

    def migrate(self, server, status, kind, source="host1", target="host2"):
        """A migration record; returns its id."""
        with self.conductor.database() as tables:
            rows = tables.setdefault("Migration", {})
            number = len(rows) + 1
            rows[str(number)] = {
                "id": number, "uuid": str(uuid.uuid4()), "instance_uuid": server,
                "migration_type": kind, "status": status, "source_compute": source,
                "source_node": source, "dest_compute": target, "dest_node": target,
                "updated_at": "2026-01-01T00:00:00Z", "deleted": False,
            }  # fmt: skip
        return number

    def migration(self, number):
        return self.conductor.read()["Migration"][str(number)]

    def get(self, server):
        """The server as a message would have it."""
        return Instances(self.conductor).get(RequestContext.admin(), server)

    def row(self, server):
        """Its host, vm_state, task_state and power_state."""
        row = self.conductor.instance(server)
        return tuple(row.get(name) for name in ("host", "vm_state", "task_state", "power_state"))

    def allocations(self, server):
        return self.ledger.read()["allocations"].get(server, {})

    def events(self):
        """(event, start or finish, error) of all servers."""
        return [tuple(event[1:]) for event in self.conductor.read().get("events", [])]

    def attach_volume(self, server):
        """A volume that is attached here, as Cinder and the mapping have it."""
        connection = {"driver_volume_type": "file", "data": {"name": VOLUME}, "serial": VOLUME}
        self.volumes.connect(Connection("file", VOLUME, {"name": VOLUME}), server)
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {
                "id": 2, "uuid": str(uuid.uuid4()), "instance_uuid": server, "volume_id": VOLUME,
                "source_type": "volume", "destination_type": "volume", "no_device": False,
                "attachment_id": "the other host's", "device_name": "/dev/vdb",
                "connection_info": json.dumps(connection), "deleted": False,
            }  # fmt: skip

    # --- the agent --------------------------------------------------------------------------
    def send(self, method, server, instance=None, context=None, **arguments):
        """A message that comes now; returns its journal entry.

        :param instance: the server as the message has it, where it is not as in the records
        """
        fields = {"request_id": f"req-{uuid.uuid4()}", **(context or {})}
        instance = instance or self.get(server)
        entry = self.engine.accept(
            method, RequestContext(fields), server, {"instance": instance, **wrap(arguments)}
        )
        if entry is not None:
            self.engine.start(entry)
        return entry

    def settle(self):
        assert self.engine.settle(30)

    def guests(self):
        """Server -> power state."""
        return {server: guest.state.name for server, guest in self.hypervisor.guests.items()}

    def files(self, server):
        return sorted(path.name for path in (self.state / "instances").glob(f"{server}*/*"))

    def journal(self):
        return list((self.state / "nova-lite" / "journal").glob("*.journal"))
