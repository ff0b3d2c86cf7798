"""A host whose power can fail, with one server, for tests of real verbs against stand-ins."""

from __future__ import annotations

import copy
import json
import os
import shutil
import threading
import uuid
from pathlib import Path

from nova_lite.conductor.instances import Instances
from nova_lite.model.states import PowerState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, unwrap, wrap
from tests.fakes.agent import FakeAgent
from tests.fakes.cloud import FakeImageSource, Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.conf_file import read_conf
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.killed import Killed, until_killed
from tests.fakes.power_failure import DurableFiles
from tests.fakes.vif import FakeVifDriver

RECORDED = Path(__file__).parents[2] / "wire/data/methods/build_and_run_instance.json"
IMAGE = "11111111-2222-3333-4444-555555555555"
VOLUME = "66666666-2222-3333-4444-555555555555"
ATTACHMENT = "77777777-2222-3333-4444-555555555555"
MIB = 1024**2
MAPPING = {
    "id": 2, "uuid": "88888888-2222-3333-4444-555555555555", "source_type": "volume",
    "destination_type": "volume", "volume_id": VOLUME, "attachment_id": ATTACHMENT,
    "device_name": "/dev/vdb", "disk_bus": "virtio", "device_type": "disk", "boot_index": None,
    "guest_format": None, "volume_size": None, "connection_info": None, "tag": None,
    "delete_on_termination": False, "no_device": False, "deleted": False,
}  # fmt: skip


def cinder_with_volume(server, host):
    """What the ledger has of Cinder when a host has connected the volume of a server."""
    return {
        "volumes": {VOLUME: {
            "id": VOLUME, "status": "in-use", "attach_status": "attached", "size": 1,
            "multiattach": False, "metadata": {}, "migration_status": None,
            "availability_zone": "nova",
        }},
        "attachments": {ATTACHMENT: {
            "id": ATTACHMENT, "status": "attached", "instance": server,
            "volume_id": VOLUME, "mountpoint": "/dev/vdb", "connector": {"host": host},
            "connection_info": {"driver_volume_type": "file", "name": VOLUME},
        }},
    }  # fmt: skip


def evacuation_arguments(row, **asked):
    """Those of rebuild_instance for an evacuation, by the row of its migration."""
    migration = WireObject.new("Migration", "1.8", **row)
    migration.clear_changes()
    return {
        "new_pass": "", "injected_files": None, "image_ref": None, "orig_image_ref": None,
        "orig_sys_metadata": None, "bdms": None, "recreate": True,
        "on_shared_storage": None, "preserve_ephemeral": False,
        "migration": unwrap(migration), "scheduled_node": "node", "limits": {},
        "request_spec": None, "accel_uuids": [], "reimage_boot_volume": False,
        "target_state": None, **asked,
    }  # fmt: skip


def attachments(ledger):
    """(status, host that is connected) of the volume's attachments."""
    rows = ledger.read()["cinder"]["attachments"].values()
    return sorted((row["status"], (row["connector"] or {}).get("host")) for row in rows)


class Moving:
    """What there is of a server that goes from one host to another: of a class that has
    ``conductor``, ``ledger`` and ``server``."""

    @staticmethod
    def instances(host):
        return host.state / "instances"

    def set(self, **fields):
        self.conductor.set(self.server, **fields)

    def row(self, name):
        return self.conductor.instance(self.server).get(name)

    def state(self):
        return tuple(self.row(name) for name in ("host", "vm_state", "task_state"))

    def files(self, host):
        """Names of what is below instances_path."""
        root = self.instances(host)
        return sorted(
            str(path.relative_to(root)).replace(self.server, "server")
            for path in root.rglob("*")
            if path.is_file() and path.relative_to(root).parts[0] not in ("_base", "locks")
        )

    def guest(self, host):
        found = host.hypervisor.guests.get(self.server)
        return None if found is None else found.state.name

    def cinder(self):
        return attachments(self.ledger)

    def faults(self):
        return [row["message"] for row in
                self.conductor.read().get("InstanceFault", {}).values()]  # fmt: skip

    def ended(self):
        events = self.conductor.read().get("events", [])
        return sorted({(event, phase) for _, event, phase, _ in events})


def recorded():
    return json.loads(RECORDED.read_text())[0]["request"]["args"]


def build_arguments(retry=True, password=None):
    """Those of a recorded build, with one local disk and one network.

    :param password: of the administrator, on a config drive; a power failure loses it
    """
    arguments = recorded()
    del arguments["instance"]
    arguments["admin_password"] = password
    arguments["image"].update(id=IMAGE, disk_format="raw", size=MIB, properties={})
    mappings = arguments["block_device_mapping"]["nova_object.data"]
    mappings["objects"] = mappings["objects"][:1]
    mappings["objects"][0]["nova_object.data"].update(
        source_type="image", destination_type="local", boot_index=0, device_name=None,
        volume_id=None, snapshot_id=None, device_type="disk", disk_bus=None,
        guest_format=None, image_id=IMAGE, id=1, tag=None,
    )  # fmt: skip
    networks = arguments["requested_networks"]["nova_object.data"]
    networks["objects"] = networks["objects"][:1]
    if not retry:
        arguments["filter_properties"] = {}
    return arguments


class Host:
    """State directory, guests and the rest of the cloud; agents come and go."""

    def __init__(self, directory):
        self.state = directory
        directory.mkdir(parents=True, exist_ok=True)
        options = {
            "DEFAULT": {"state_path": str(directory), "my_ip": "127.0.0.1", "host": "host1",
                        "shutdown_timeout": 1},
            "libvirt": {"virt_type": "qemu", "cpu_mode": "none",
                        "snapshots_directory": f"{directory}/snapshots"},
        }  # fmt: skip
        self.conf = read_conf(directory, options)
        self.hypervisor, self.vifs = FakeHypervisor(), FakeVifDriver()
        self.ledger = Ledger(directory / "cloud.json")
        self.conductor = FakeConductor(directory / "conductor.json", self.ledger)
        (directory / "images").mkdir(exist_ok=True)
        self.images = FakeImageSource(directory / "images")
        self.images.add(IMAGE, b"".ljust(MIB, b"\0"))
        self.journal = directory / "nova-lite" / "journal"
        self.boots = 1
        self.server = self._server()

    def _server(self):
        instance = copy.deepcopy(recorded()["instance"])
        server = str(uuid.uuid4())
        instance["nova_object.data"].update(
            uuid=server, id=1, user_data=None, image_ref=IMAGE, system_metadata={},
            vm_state="building", task_state="scheduling", host=None,
        )  # fmt: skip
        instance["nova_object.data"]["flavor"]["nova_object.data"]["memory_mb"] = 32
        self.conductor.add_instance(instance)
        with self.ledger.open() as content:
            content["allocations"] = {server: {"host1": {"VCPU": 1}}}
        return server

    # --- agents -----------------------------------------------------------------------------
    def agent(self, observer=None, **replaced):
        """A new process."""
        made = FakeAgent(
            self.conf, hypervisor=self.hypervisor, vif_driver=self.vifs, conductor=self.conductor,
            image_store=self.images, boot_id=f"boot-{self.boots}",
            **({"observer": observer} if observer else {}), **replaced,
        )  # fmt: skip
        return made

    def send(self, agent, method, request="req-1", without=(), context=None, **arguments):
        """
        :param without: fields that the sender has not loaded
        :param context: more of the request's context
        """
        instance = Instances(self.conductor).get(RequestContext.admin(), self.server)
        for field in without:
            del instance.data[field]
        agent.engine.begin(
            method,
            RequestContext({"request_id": request, **(context or {})}),
            self.server,
            {"instance": instance, **wrap(copy.deepcopy(arguments))},
        )

    def run(self, method, observer=None, request="req-1", **arguments):
        """Carry it out in a new process; the tools it had."""
        agent = self.agent(observer)
        self.send(agent, method, request, **arguments)
        assert agent.engine.settle(60)
        return agent

    def boundaries(self, method, **arguments):
        """Those that an undisturbed run passes, in order."""
        seen = []
        self.run(method, seen.append, **arguments)
        return seen

    def killed(self, boundary, method, **arguments):
        """Carry it out until the process is killed at ``boundary``."""
        dead = threading.Event()

        def observer(name):
            if name == boundary:
                dead.set()
            if dead.is_set():
                raise Killed

        agent = self.agent(observer)
        with until_killed(60):
            self.send(agent, method, **arguments)

    def power_fails(self, boundary, method, **arguments):
        """Carry it out until the power fails at ``boundary``; what the host had is lost."""
        durable = DurableFiles(self.journal.resolve(), self.state / "synced")
        kept = os.fsync, os.fdatasync
        self.agent()  # its directories are there
        durable.record()
        try:
            self.killed(boundary, method, **arguments)
        finally:
            os.fsync, os.fdatasync = kept
        durable.lose_rest()
        shutil.rmtree(self.conf.nova_lite.runtime_path, ignore_errors=True)  # a tmpfs
        self.boots += 1
        for guest in self.hypervisor.guests.values():
            guest.state, guest.plugged = PowerState.SHUTDOWN, ()
        self.vifs.ports.clear()

    def resume(self, **replaced):
        """What the agent does when the host is up again."""
        agent = self.agent(**replaced)
        agent.engine.resume()
        assert agent.engine.settle(60)
        return agent

    # --- what is there ----------------------------------------------------------------------
    def set(self, **fields):
        self.conductor.set(self.server, **fields)

    def boot(self):
        self.run("build_and_run_instance", request="req-boot", **build_arguments())
        row = build_arguments()["block_device_mapping"]["nova_object.data"]["objects"][0]
        with self.conductor.database() as tables:
            saved = tables.get("BlockDeviceMapping", {}).get("1", {})
            tables["BlockDeviceMapping"] = {
                "1": {**row["nova_object.data"], "instance_uuid": self.server, **saved}
            }
            tables["events"] = []

    def reserve_volume(self):
        """A volume as Nova leaves it to the host, and the argument of attach_volume."""
        with self.ledger.open() as content:
            content["cinder"] = {
                "volumes": {VOLUME: {
                    "id": VOLUME, "status": "reserved", "attach_status": "reserved", "size": 1,
                    "multiattach": False, "metadata": {}, "migration_status": None,
                    "availability_zone": "nova",
                }},
                "attachments": {ATTACHMENT: {
                    "id": ATTACHMENT, "status": "reserved", "instance": self.server,
                    "volume_id": VOLUME, "mountpoint": None, "connector": None,
                    "connection_info": {},
                }},
            }  # fmt: skip
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {**MAPPING, "instance_uuid": self.server}
        mapping = WireObject.new("BlockDeviceMapping", "1.21", **MAPPING)
        mapping.clear_changes()
        return mapping.primitive

    def look(self):
        """What users and operators see."""
        tables, cloud = self.conductor.read(), self.ledger.read()
        record = tables["Instance"][self.server]
        cinder = cloud.get("cinder", {})
        guest = self.hypervisor.guests.get(self.server)
        files = self.state / "instances" / self.server
        return {
            **{name: record.get(name) for name in ("vm_state", "task_state", "host")},
            "deleted": bool(record.get("deleted")),
            "guest": None if guest is None else guest.state.name,
            "disks": [] if guest is None else sorted(d.target for d in guest.spec.disks),
            "files": sorted(path.name for path in files.glob("*")),
            "ports": len(cloud.get("ports", {})),
            "taps": len(self.vifs.ports),
            "allocations": cloud.get("allocations", {}).get(self.server),
            "volumes": [volume["status"] for volume in cinder.get("volumes", {}).values()],
            "attachments": [row["status"] for row in cinder.get("attachments", {}).values()],
            "journal": sorted(path.name for path in self.journal.glob("*.journal")),
            "casts": [cast["method"] for cast in tables.get("casts", [])],
            "faults": len(tables.get("InstanceFault", {})),
            "ended": sorted({(event, phase) for _, event, phase, _ in tables.get("events", [])}),
        }
