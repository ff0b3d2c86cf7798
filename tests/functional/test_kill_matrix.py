"""kill -9 at every step boundary of every operation, on real libvirt: nothing is lost or leaks.

An agent's engine runs in a process of its own (``victim``) with stand-ins for the control plane
whose state is on disk. It is killed at one boundary; a second process resumes from the journal; then
all ledgers must look as if nothing had happened: the server's record, the hypervisor, the files,
the taps, the ports, the allocations and the journal.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.fakes.cloud import Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.private_libvirtd import PrivateLibvirtd

pytestmark = pytest.mark.libvirt

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests/wire/data/methods/build_and_run_instance.json"
IMAGE = "11111111-2222-3333-4444-555555555555"
BOOT = "build_and_run_instance"


@dataclass
class Host:
    """One host's state directory, and one server on it."""

    state: Path
    daemon: PrivateLibvirtd
    server: str

    @property
    def uri(self):
        return self.daemon.uri

    @property
    def conductor(self):
        return FakeConductor(self.state / "conductor.json")

    @property
    def ledger(self):
        return Ledger(self.state / "cloud.json")

    def run(self, method=None, *, kill=None, record=None, fail_start=False, **arguments):
        """Run a victim; True when it ended by itself."""
        command = [
            *self.daemon.enter(), sys.executable, "-m", "tests.functional.victim", str(self.state)
        ]  # fmt: skip
        if method:
            message = self.state / "message.json"
            instance = self.conductor.read()["Instance"][self.server]
            primitive = {
                "nova_object.name": "Instance",
                "nova_object.namespace": "nova",
                "nova_object.version": "2.8",
                "nova_object.data": {k: v for k, v in instance.items() if k != "history"},
            }
            message.write_text(
                json.dumps(
                    {
                        "method": method,
                        "request_id": f"req-{uuid.uuid4()}",
                        "args": {"instance": primitive, **arguments},
                    }
                )
            )
            command += ["--message", str(message)]
        if kill:
            command += ["--kill", kill]
        if record:
            command += ["--record", str(record)]
        if fail_start:
            command.append("--fail-start")
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, timeout=180,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode in (0, -9, 137), done.stderr[-3000:]
        return done.returncode == 0

    def domain_state(self):
        connection = libvirt.open(self.uri)
        try:
            return connection.lookupByUUIDString(self.server).state()[0]
        except libvirt.libvirtError:
            return None
        finally:
            connection.close()

    def living_taps(self):
        return {line.split(":")[1].strip() for line in
                self.daemon.run("ip", "-o", "link", "show", "type", "tun").stdout.splitlines()}  # fmt: skip

    def look(self):
        """Every ledger, as one comparable value."""
        tables = self.conductor.read()
        instance = tables["Instance"][self.server]
        files = self.state / "instances" / self.server
        cloud = self.ledger.read()
        names = {path.name for path in files.iterdir()} if files.exists() else set()
        return {
            "vm_state": instance.get("vm_state"),
            "task_state": instance.get("task_state"),
            "power_state": instance.get("power_state"),
            "host": instance.get("host"),
            "deleted": bool(instance.get("deleted")),
            "domain": self.domain_state(),
            "files": {n for n in names if not n.startswith("console.log")},
            "strays": {p.name for p in (self.state / "instances").glob("*_del")},
            "ports": len(cloud.get("ports", {})),
            "records": len(tables.get("VirtualInterface", {})),
            "taps": len(self.living_taps()),
            "allocations": len(cloud.get("allocations", {})),
            "journal": [p.name for p in (self.state / "journal").iterdir()],
            "casts": [cast["method"] for cast in tables.get("casts", [])],
        }

    def clean(self):
        connection = libvirt.open(self.uri)
        try:
            domain = connection.lookupByUUIDString(self.server)
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        except libvirt.libvirtError:
            pass
        finally:
            connection.close()
        for tap in self.living_taps():
            self.daemon.run("ip", "link", "del", tap, check=False)
        shutil.rmtree(self.state, ignore_errors=True)


def build_arguments(retry=True):
    """The arguments of a recorded build, without what a stand-in cloud has no use for."""
    recorded = json.loads(RECORDED.read_text())[0]["request"]["args"]
    arguments = copy.deepcopy(recorded)
    arguments.pop("instance")
    arguments["image"].update(id=IMAGE, disk_format="raw", size=1048576, properties={})
    mapping = arguments["block_device_mapping"]["nova_object.data"]["objects"][0]
    data = mapping["nova_object.data"]
    data.update(source_type="image", destination_type="local", boot_index=0, device_name=None,
                volume_id=None, snapshot_id=None, device_type="disk", disk_bus=None,
                guest_format=None, image_id=IMAGE, id=1, tag=None)  # fmt: skip
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [mapping]
    networks = arguments["requested_networks"]["nova_object.data"]
    networks["objects"] = networks["objects"][:1]
    if not retry:
        arguments["filter_properties"] = {}
    return arguments


@pytest.fixture
def make_host(tmp_path, private_libvirtd):
    """Hosts that are cleaned up afterwards."""
    made = []

    def make(name):
        state = tmp_path / name
        (state / "images").mkdir(parents=True)
        (state / "images" / IMAGE).write_bytes(bytes(1048576))
        (state / "instances").mkdir()
        (state / "journal").mkdir()
        (state / "nova.conf").write_text(
            "[DEFAULT]\nhost = host1\n"
            f"state_path = {state}\nlog_file = {state}/agent.log\nshutdown_timeout = 1\n"
            "force_config_drive = true\n"
            f"[libvirt]\nvirt_type = qemu\nconnection_uri = {private_libvirtd.uri}\ncpu_mode = none\n"
            "wait_soft_reboot_seconds = 1\ntb_cache_size = 32\n"
        )
        host = Host(state, private_libvirtd, str(uuid.uuid4()))
        recorded = json.loads(RECORDED.read_text())[0]["request"]["args"]["instance"]
        instance = copy.deepcopy(recorded)
        instance["nova_object.data"].update(
            uuid=host.server, id=len(made) + 1, user_data=None, image_ref=IMAGE
        )
        instance["nova_object.data"]["flavor"]["nova_object.data"]["memory_mb"] = 32
        instance["nova_object.data"]["system_metadata"] = {}
        host.conductor.add_instance(instance)
        with host.ledger.open() as content:
            content["allocations"] = {host.server: {"VCPU": 1}}
        made.append(host)
        return host

    yield make
    for host in made:
        host.clean()


def set_fields(host, **fields):
    with host.conductor.database() as tables:
        tables["Instance"][host.server].update(fields)


def booted(host):
    assert host.run(BOOT, **build_arguments())
    with host.conductor.database() as tables:
        bdm = build_arguments()["block_device_mapping"]["nova_object.data"]["objects"][0]
        row = {**bdm["nova_object.data"], "instance_uuid": host.server}
        row.update(tables.get("BlockDeviceMapping", {}).get("1", {}))
        tables["BlockDeviceMapping"] = {"1": row}


def stopped(host):
    booted(host)
    set_fields(host, task_state="powering-off")
    assert host.run("stop_instance", clean_shutdown=False)


SCENARIOS = {
    "boot": (lambda host: None, {}, (BOOT, build_arguments(), {})),
    "boot, host fails": (lambda host: None, {}, (BOOT, build_arguments(), {"fail_start": True})),
    "boot, fails, no retry": (
        lambda host: None, {}, (BOOT, build_arguments(retry=False), {"fail_start": True})
    ),
    "delete": (
        booted, {"task_state": "deleting"},
        ("terminate_instance", {"bdms": build_arguments()["block_device_mapping"]}, {}),
    ),
    "stop": (booted, {"task_state": "powering-off"}, ("stop_instance", {"clean_shutdown": True}, {})),
    "start": (stopped, {"task_state": "powering-on"}, ("start_instance", {}, {})),
    "reboot hard": (
        booted, {"task_state": "rebooting_hard"},
        ("reboot_instance", {"reboot_type": "HARD", "block_device_info": None}, {}),
    ),
    "reboot soft": (
        booted, {"task_state": "rebooting"},
        ("reboot_instance", {"reboot_type": "SOFT", "block_device_info": None}, {}),
    ),
}  # fmt: skip
STABLE = {"boot": "active", "boot, host fails": "building", "boot, fails, no retry": "error",
          "delete": "deleted", "stop": "stopped", "start": "active", "reboot hard": "active",
          "reboot soft": "active"}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_boundary_it_ends_as_without(make_host, name):
    """Whatever boundary the agent dies at, its successor brings all ledgers to the same end."""
    prepare, fields, (method, arguments, how) = SCENARIOS[name]

    def fresh(label):
        host = make_host(label)
        prepare(host)
        if fields:
            set_fields(host, **fields)
        return host

    untouched = fresh("untouched")
    record = untouched.state / "boundaries"
    assert untouched.run(method, record=record, **how, **arguments)
    wanted = untouched.look()
    assert wanted["vm_state"] == STABLE[name]
    assert wanted["journal"] == []
    boundaries = record.read_text().split("\n")[:-1]
    assert len(boundaries) > 4
    untouched.clean()

    for number, boundary in enumerate(boundaries):
        host = fresh(f"killed-{number}")
        host.run(method, kill=boundary, **how, **arguments)
        host.run(**how)
        seen = host.look()
        assert seen == wanted, f"killed at {boundary}"
        host.clean()
