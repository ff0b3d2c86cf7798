"""A host for tests that kill the agent: its state directory, its victims, and all ledgers.

Everything is in memory (tmpfs), guests have 32 MiB and no system, and the victim's interpreter is
started once, so that a kill and the resumption after it take well under a second.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import libvirt

from nova_lite.clients.key_manager import FIXED_KEY_ID
from nova_lite.wire.objects import WireObject, unwrap
from tests.fakes.cloud import FakeImageSource, Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.manila import Rules
from tests.fakes.private_libvirtd import PrivateLibvirtd

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests/wire/data/methods/build_and_run_instance.json"
IMAGE = "11111111-2222-3333-4444-555555555555"
# Rescue systems: one that becomes the root disk, one beside which all disks keep their names.
RESCUE = "22222222-2222-3333-4444-555555555555"
RESCUE_BESIDE = "33333333-2222-3333-4444-555555555555"
VOLUME_KEY = "5ec7e7" + "ab" * 29
SNAPSHOT = "44444444-2222-3333-4444-555555555555"
# The snapshot of a shelved server.
SHELF = "55555555-2222-3333-4444-555555555555"
# A volume that the server is to have, its attachment, and the mapping that nova-api has made.
VOLUME = "66666666-2222-3333-4444-555555555555"
ATTACHMENT = "77777777-2222-3333-4444-555555555555"
# The volume and the attachment that take their place, and what the volume holds.
NEW_VOLUME = "66666666-aaaa-3333-4444-555555555555"
NEW_ATTACHMENT = "77777777-aaaa-3333-4444-555555555555"
CONTENT = bytes(range(1, 256)) * 1024
MAPPING = {
    "id": 2, "uuid": "88888888-2222-3333-4444-555555555555", "source_type": "volume",
    "destination_type": "volume", "volume_id": VOLUME, "attachment_id": ATTACHMENT,
    "device_name": "/dev/sda", "disk_bus": "scsi", "device_type": "disk", "boot_index": None,
    "guest_format": None, "volume_size": None, "connection_info": None, "tag": None,
    "delete_on_termination": False, "no_device": False, "deleted": False,
}  # fmt: skip
# A root disk that is to be a volume, made from the image and deleted with the server.
ROOT_VOLUME = {
    **MAPPING, "id": 1, "uuid": "99999999-2222-3333-4444-555555555555", "source_type": "image",
    "image_id": IMAGE, "volume_id": None, "attachment_id": None, "volume_size": 1,
    "volume_type": None, "snapshot_id": None, "device_name": None, "disk_bus": None,
    "boot_index": 0, "delete_on_termination": True,
}  # fmt: skip
# A share that the server is to have.
SHARE = "aaaaaaaa-2222-3333-4444-555555555555"
SHARE_MAPPING = {
    "id": 1, "uuid": "bbbbbbbb-2222-3333-4444-555555555555", "share_id": SHARE, "tag": "docs",
    "export_location": "192.0.2.9:/docs", "share_proto": "NFS",
}  # fmt: skip
MEMORY = Path("/dev/shm")
MIB = 1024**2
# A boot sector that says R on the serial port, enables the power button (PM1a enable register of
# SeaBIOS at 602h), sleeps until it is pressed and then powers off (SLP_EN, S5); one partition, for
# the image is checked. An empty disk gives the opposite, a guest that ignores the button.
POLITE = bytes.fromhex(
    "baf803" "b052" "ee" "ba0206" "b80001" "ef" "fb"
    "f4" "ba0006" "ed" "f6c401" "74f6" "ba0406" "b80020" "ef" "f4"
).ljust(446, b"\0") + bytes.fromhex("80000100 83000100 01000000 ff070000").ljust(64, b"\0") + (
    b"\x55\xaa"
)  # fmt: skip
CONF = """[DEFAULT]
host = host1
state_path = {state}
log_file = {state}/agent.log
shutdown_timeout = {patience}
force_config_drive = true
[libvirt]
virt_type = qemu
connection_uri = {uri}
cpu_mode = none
wait_soft_reboot_seconds = {patience}
tb_cache_size = 32
"""


def usable() -> str | None:
    """Why these tests cannot run here; None when they can."""
    return None if os.access(MEMORY, os.W_OK) else f"needs a writable {MEMORY}"


class Lab:
    """A private libvirtd and the parent of the victims."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nvl-", dir=MEMORY))
        self.daemon = PrivateLibvirtd(self.directory)
        self.log = self.directory / "victim.log"
        # Method -> all boundaries that its scenarios have passed until now.
        self.passed: defaultdict[str, set[str]] = defaultdict(set)
        self._numbers = itertools.count(1)
        self._parents: list[subprocess.Popen] = []

    def start(self):
        self.daemon.start()

    def stop(self):
        for parent in self._parents:
            parent.stdin.close()
            parent.wait(timeout=20)
        self.daemon.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, **order):
        """Run a victim to its end; True when it ended by itself, False when it was killed."""
        try:
            parent = self._parents.pop()
        except IndexError:
            parent = subprocess.Popen(
                [*self.daemon.enter(), sys.executable, "-m", "tests.functional.victim"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip
        parent.stdin.write(json.dumps({"log": str(self.log), **order}) + "\n")
        parent.stdin.flush()
        status = int(parent.stdout.readline())
        self._parents.append(parent)
        assert status in (0, -9), self.said()
        return status == 0

    def said(self):
        """The end of the victims' log."""
        return self.log.read_text()[-3000:]

    def host(self, *, polite=True):
        return Host(self, next(self._numbers), polite)


@dataclass
class Kept:
    """A host's state to come back to."""

    files: Path
    domain: str | None
    state: int | None
    saved: bool
    taps: set[str]


class Host:
    """One host's state directory, and one server that was scheduled to it."""

    def __init__(self, lab: Lab, number: int, polite: bool) -> None:
        self.lab, self.number, self.server = lab, number, str(uuid.uuid4())
        self.state = state = lab.directory / f"host{number}"
        self.ledger = Ledger(state / "cloud.json")
        self.conductor = FakeConductor(state / "conductor.json", self.ledger)
        self._polite = polite
        self.encrypted = False
        self._kept: Kept | None = None
        self.journal = state / "nova-lite" / "journal"
        for name in ("images", "instances"):
            (state / name).mkdir(parents=True)
        disk = POLITE if polite else b""
        images = FakeImageSource(state / "images")
        for image in (IMAGE, RESCUE):
            images.add(image, disk.ljust(MIB, b"\0"))
        images.add(RESCUE_BESIDE, disk.ljust(MIB, b"\0"), properties={"hw_rescue_bus": "virtio"})
        (state / "nova.conf").write_text(
            CONF.format(state=state, uri=lab.daemon.uri, patience=60 if polite else 1)
        )
        self._schedule()

    def _schedule(self):
        instance = copy.deepcopy(recorded()["instance"])
        instance["nova_object.data"].update(
            uuid=self.server, id=self.number, user_data=None, image_ref=IMAGE,
            system_metadata={},
        )  # fmt: skip
        instance["nova_object.data"]["flavor"]["nova_object.data"]["memory_mb"] = 32
        self.conductor.add_instance(instance)
        with self.ledger.open() as content:
            content["allocations"] = {self.server: {"host1": {"VCPU": 1}}}

    # --- doing ------------------------------------------------------------------------------
    def message(self, method, **arguments):
        """A message of the compute API about this server as its records are now."""
        arguments = copy.deepcopy(arguments)
        if "share_mapping" in arguments:
            arguments["share_mapping"]["nova_object.data"]["instance_uuid"] = self.server
        with self.conductor.database() as tables:
            instance = self.conductor.class_instance_get_by_uuid(tables, None, self.server)
        return {
            "method": method,
            "request_id": f"req-{uuid.uuid4()}",
            "args": {"instance": unwrap(instance), **arguments},
        }

    def run(self, *messages, kill=None, kill_in=None, **order):
        """Run a victim; True when it ended by itself.

        :param kill: boundary at which it is killed
        :param kill_in: boundary -> seconds after it
        """
        if kill:
            order["at"] = {kill: {"kill": True}}
        if kill_in:
            order["at"] = {name: {"kill in": seconds} for name, seconds in kill_in.items()}
        return self.lab.run(state=str(self.state), messages=list(messages), **order)

    def set(self, **fields):
        """Change the server's record as the API does."""
        self.conductor.set(self.server, **fields)

    def boot(self):
        assert self.run(self.message("build_and_run_instance", **build_arguments()))
        row = build_arguments()["block_device_mapping"]["nova_object.data"]["objects"][0]
        with self.conductor.database() as tables:
            saved = tables.get("BlockDeviceMapping", {}).get("1", {})
            tables["BlockDeviceMapping"] = {
                "1": {**row["nova_object.data"], "instance_uuid": self.server, **saved}
            }
            tables["events"] = []

    def reserve_volume(self):
        """A volume as Nova leaves it to the host: reserved, with a mapping."""
        with self.ledger.open() as content:
            cinder = content.setdefault("cinder", {})
            cinder["volumes"] = {
                VOLUME: {
                    "id": VOLUME, "status": "reserved", "attach_status": "reserved", "size": 1,
                    "multiattach": False, "metadata": {}, "migration_status": None,
                    "availability_zone": "nova",
                }
            }  # fmt: skip
            cinder["attachments"] = {
                ATTACHMENT: {
                    "id": ATTACHMENT, "status": "reserved", "instance": self.server,
                    "volume_id": VOLUME, "mountpoint": None, "connector": None,
                    "connection_info": {},
                }
            }  # fmt: skip
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["2"] = {**MAPPING, "instance_uuid": self.server}

    def reserve_encrypted_volume(self):
        """One that is LUKS, and whose key nova.conf has; only one host at a time can have it."""
        self.reserve_volume()
        self.encrypted = True
        with self.ledger.open() as content:
            content["cinder"]["volumes"][VOLUME]["encryption"] = {
                "encryption_key_id": FIXED_KEY_ID, "provider": "luks", "cipher": "aes-xts-plain64",
                "key_size": 256, "control_location": "front-end",
            }  # fmt: skip
        with open(self.state / "nova.conf", "a") as file:
            file.write(f"[key_manager]\nfixed_key = {VOLUME_KEY}\n")
        path = self.state / "volumes" / VOLUME
        path.parent.mkdir(exist_ok=True)
        create = ["qemu-img", "create", "-q", "-f", "luks", "-o", "key-secret=k,iter-time=10",
                  "--object", f"secret,id=k,data={VOLUME_KEY}", path, "1M"]  # fmt: skip
        # QEMU 7.2 measures its own speed first, and now and then fails at it on a busy machine.
        assert any(subprocess.run(create).returncode == 0 for _ in range(5))

    def secrets(self):
        """The secrets by which libvirt can open the encrypted volume."""
        connection = libvirt.open(self.lab.daemon.uri)
        try:
            return [s.UUIDString() for s in connection.listAllSecrets() if s.usageID() == VOLUME]
        finally:
            connection.close()

    def forget_secrets(self):
        connection = libvirt.open(self.lab.daemon.uri)
        for uuid_ in self.secrets():
            connection.secretLookupByUUIDString(uuid_).undefine()
        connection.close()

    def ask_for_volumes(self):
        """The server is to have its root disk and another one in volumes."""
        with self.conductor.database() as tables:
            row = {**ROOT_VOLUME, "instance_uuid": self.server}
            tables["BlockDeviceMapping"] = {"1": row}
        self.reserve_volume()
        self.set(image_ref="", root_device_name=None)

    def boot_from_volumes(self):
        self.configure("shutdown_timeout = 0")
        self.ask_for_volumes()
        assert self.run(self.message("build_and_run_instance", **volume_arguments()))
        with self.conductor.database() as tables:
            tables["events"] = []

    def attach_volume(self):
        """A volume that is to be detached."""
        self.reserve_volume()
        assert self.run(self.message("attach_volume", **attach_arguments())), self.lab.said()
        with self.ledger.open() as content:
            content["cinder"]["volumes"][VOLUME]["status"] = "detaching"
        with self.conductor.database() as tables:
            tables["events"] = []

    def attach_encrypted_volume(self):
        """A LUKS volume that the server uses, and whose key libvirt has forgotten."""
        self.reserve_encrypted_volume()
        assert self.run(self.message("attach_volume", **attach_arguments())), self.lab.said()
        self.forget_secrets()
        with self.conductor.database() as tables:
            tables["events"] = []

    def grow_volume(self):
        """A volume that the server uses, and that Cinder has made larger since."""
        self.attach_volume()
        with self.ledger.open() as content:
            content["cinder"]["volumes"][VOLUME].update(status="in-use", size=2)
        with open(self.state / "volumes" / VOLUME, "r+b") as file:
            file.truncate(2 * MIB)

    def migrate_volume(self):
        """A volume that the server uses, and the one that Cinder has made to take its place."""
        self.attach_volume()
        with self.ledger.open() as content:
            cinder = content["cinder"]
            old, reserved = cinder["volumes"][VOLUME], dict(cinder["attachments"][ATTACHMENT])
            old.update(status="retyping", migration_status="migrating")
            cinder["volumes"][NEW_VOLUME] = {
                **old, "id": NEW_VOLUME, "status": "reserved", "attach_status": "reserved",
                "migration_status": f"target:{VOLUME}", "connection": {"name": NEW_VOLUME},
            }  # fmt: skip
            reserved.update(id=NEW_ATTACHMENT, volume_id=NEW_VOLUME, status="reserved",
                            connection_info={}, connector=None)  # fmt: skip
            cinder["attachments"][NEW_ATTACHMENT] = reserved
        for name in (VOLUME, NEW_VOLUME):
            content = CONTENT if name == VOLUME else b""
            (self.state / "volumes" / name).write_bytes(content.ljust(MIB, b"\0"))

    def _share(self, status):
        """A share as nova-api leaves it to the host."""
        path = self.state / "nova.conf"
        path.write_text(
            path.read_text().replace("[libvirt]", "[libvirt]\nfile_backed_memory = 1024", 1)
        )
        Rules(self.ledger).add_share(SHARE)
        with self.conductor.database() as tables:
            row = {**SHARE_MAPPING, "instance_uuid": self.server, "status": status}
            tables["ShareMapping"] = {f"{self.server}.{SHARE}": row}

    def ask_for_share(self):
        self._share("attaching")

    def give_share(self, status="inactive"):
        """The server, which is off, has a share."""
        self.ask_for_share()
        assert self.run(self.message("allow_share", **share_arguments("attaching"))), (
            self.lab.said()
        )
        with self.conductor.database() as tables:
            tables["events"] = []
            tables["ShareMapping"][f"{self.server}.{SHARE}"]["status"] = status

    def take_share(self):
        """The server, which is off, is to lose its share."""
        self.give_share("detaching")

    def use_share(self):
        """The server runs, and has a share."""
        self.give_share()
        self._ask("start_instance", "powering-on")

    def await_image(self, image_id, **properties):
        """The record that nova-api makes for a snapshot or a backup of the server."""
        properties = {**properties, "instance_uuid": self.server}
        FakeImageSource(self.state / "images").await_upload(image_id, properties=properties)

    def add_backup(self, image_id, **properties):
        """A backup of the server that was made before."""
        self.await_image(image_id, image_type="backup", **properties)
        (self.state / "images" / image_id).write_bytes(b"old")

    def stop(self):
        self.set(task_state="powering-off")
        assert self.run(self.message("stop_instance", clean_shutdown=False))
        with self.conductor.database() as tables:
            tables["events"] = []

    def pause(self):
        self._ask("pause_instance", "pausing")

    def suspend(self):
        self._ask("suspend_instance", "suspending")

    def soft_delete(self):
        self._ask("soft_delete_instance", "soft-deleting")

    def rescue(self):
        self._ask("rescue_instance", "rescuing", **rescue_arguments(RESCUE))

    def shelve(self):
        """Shelved, and still here."""
        self.configure("shelved_offload_time = -1")
        self.await_image(SHELF)
        self._ask("shelve_instance", "shelving", **shelve_arguments())

    def offload(self):
        """Shelved without a host; the scheduler has chosen this one again."""
        self.await_image(SHELF)
        self._ask("shelve_instance", "shelving", **shelve_arguments())
        # Small, and nothing is to be converted: that would be done at each of the kills.
        FakeImageSource(self.state / "images").add(SHELF, bytes(MIB))
        with self.ledger.open() as content:
            content["allocations"] = {self.server: {"host1": {"VCPU": 1}}}

    def offload_with_volumes(self):
        """The same, of a server whose disks are volumes: it has no snapshot."""
        self._ask("shelve_offload_instance", "shelving_offloading", clean_shutdown=False)
        with self.ledger.open() as content:
            content["allocations"] = {self.server: {"host1": {"VCPU": 1}}}

    def configure(self, line):
        """Another value of an option of [DEFAULT]: the last one counts."""
        with open(self.state / "nova.conf", "a") as file:
            file.write(f"[DEFAULT]\n{line}\n")

    def offer_serial_ports(self):
        """Guests get serial ports on TCP, from a range of ten that starts with a round number."""
        first = 20000 + 10 * self.number
        with open(self.state / "nova.conf", "a") as file:
            file.write(f"[serial_console]\nenabled = true\nport_range = {first}:{first + 10}\n")

    def _ask(self, method, task_state, **arguments):
        self.set(task_state=task_state)
        assert self.run(self.message(method, **arguments))
        with self.conductor.database() as tables:
            tables["events"] = []

    # --- again and again --------------------------------------------------------------------
    def keep(self):
        """Remember everything as it is now."""
        files = self.state.with_suffix(".kept")
        shutil.copytree(self.state, files)
        with self._domain() as domain:
            xml = domain and domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            state = domain and domain.state()[0]
            saved = bool(domain and domain.hasManagedSaveImage())
        self._kept = Kept(files, xml, state, saved, self.taps())

    def restore(self):
        """Make everything as it was at ``keep``."""
        kept = self._kept
        self.clear()
        shutil.copytree(kept.files, self.state)
        for tap in kept.taps:
            self.lab.daemon.run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        if kept.domain:
            connection = libvirt.open(self.lab.daemon.uri)
            domain = connection.defineXML(kept.domain)
            if kept.saved or kept.state != libvirt.VIR_DOMAIN_SHUTOFF:
                domain.create()
                self.wait_for_guest()
            if kept.state == libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()
            if kept.saved:
                domain.managedSave()
            connection.close()

    def wait_for_guest(self):
        """Until a polite guest that runs can hear the power button."""
        console = self.state / "instances" / self.server / "console.log"
        deadline = time.monotonic() + 60
        while self._polite and self.domain_state() == libvirt.VIR_DOMAIN_RUNNING:
            if console.exists() and b"R" in console.read_bytes()[-1:]:
                return
            assert time.monotonic() < deadline, "the guest does not boot"
            time.sleep(0.05)

    def clear(self):
        """Remove the guest, the taps and the files."""
        with self._domain() as domain:
            if domain is not None:
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        if self.encrypted:
            self.forget_secrets()
        for tap in self.taps():
            self.lab.daemon.run("ip", "link", "del", tap)
        shutil.rmtree(self.state, ignore_errors=True)

    # --- looking ----------------------------------------------------------------------------
    def domain_state(self):
        with self._domain() as domain:
            return domain.state()[0] if domain is not None else None

    def saved(self):
        """Whether there is memory to come back to."""
        with self._domain() as domain:
            off = domain is not None and not domain.isActive()
            return off and bool(domain.hasManagedSaveImage())

    def copying(self):
        """Whether one of the guest's disks is being copied."""
        with self._domain() as domain:
            return domain is not None and "<mirror" in domain.XMLDesc(0)

    def images(self):
        """What the image service has: ids with formats, properties, and whether there are bytes."""
        where = self.state / "images"
        records = {path.stem: path.read_text() for path in sorted(where.glob("*.json"))}
        return {
            image_id: (json.loads(self._anonymous(text)), (where / image_id).exists())
            for image_id, text in records.items()
        }

    def devices(self):
        """Kinds and host sides of the guest's disks, network cards and serial ports on TCP."""
        with self._domain() as domain:
            if domain is None:
                return []
            devices = ElementTree.fromstring(domain.XMLDesc(0)).find("devices")
        ports = devices.findall("serial[@type='tcp']/source")
        return [
            (device.tag, device.find("target").get("dev").replace(self.server[:8], ""))
            for device in devices
            if device.tag in ("disk", "interface")
        ] + [("serial", port.get("service")[-1]) for port in ports]

    def volumes(self):
        """What Cinder, Nova, the host and the guest (now and at its next start) know of volumes."""
        cinder, tables = self.ledger.read().get("cinder", {}), self.conductor.read()
        with self._domain() as domain:
            texts = [domain.XMLDesc(flag) for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE)] if (
                domain is not None
            ) else []  # fmt: skip
        connected = self.state / "connected"
        return {
            "cinder": sorted(
                (row["status"], row["attach_status"]) for row in cinder.get("volumes", {}).values()
            ),
            "attachments": sorted(row["status"] for row in cinder.get("attachments", {}).values()),
            "mapped": sorted(
                (str(row["device_name"]), bool(row.get("connection_info")))
                for row in tables.get("BlockDeviceMapping", {}).values()
                if row.get("volume_id") and not row.get("deleted")
            ),
            "sizes": sorted(
                row.get("volume_size") or 0
                for row in tables.get("BlockDeviceMapping", {}).values()
                if row.get("volume_id") == VOLUME
            ),
            "places": [self._place(text) for text in texts],
            "secrets": len(self.secrets()) if self.encrypted else 0,
            "connected": len(list(connected.iterdir())) if connected.exists() else 0,
            "disks": [
                sorted(
                    disk.text if disk.text == VOLUME else "made"
                    for disk in ElementTree.fromstring(text).findall(".//disk/serial")
                )
                for text in texts
            ],
        }

    def shares(self):
        """What Manila, Nova, the host and the guest (now and at its next start) know of shares."""
        rules = self.ledger.read().get("manila", {})
        with self._domain() as domain:
            texts = [domain.XMLDesc(flag) for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE)] if (
                domain is not None
            ) else []  # fmt: skip
        mounted = self.state / "mounted"
        return {
            "let in": [rule["state"] for found in rules.values() for rule in found],
            "mapped": [
                row["status"] for row in self.conductor.read().get("ShareMapping", {}).values()
            ],
            "mounted": len(list(mounted.iterdir())) if mounted.exists() else 0,
            "tags": [
                [target.get("dir") for target in
                 ElementTree.fromstring(text).findall(".//filesystem/target")]
                for text in texts
            ],
        }  # fmt: skip

    @staticmethod
    def _place(text):
        """Which file the volume is, and whether it holds what it should."""
        for disk in ElementTree.fromstring(text).findall(".//disk"):
            if disk.findtext("serial") == VOLUME:
                path = Path(disk.find("source").get("file"))
                content = path.read_bytes() if path.exists() else b""
                return path.name, content.startswith(CONTENT)
        return None

    def taps(self):
        """The server's tap devices that exist."""
        lines = Path(f"/proc/{self.lab.daemon.enter()[2]}/net/dev").read_text().splitlines()[2:]
        mine = f"tap{self.server[:8]}"
        return {name for line in lines if (name := line.split(":")[0].strip()).startswith(mine)}

    def look(self):
        """Every ledger, as one comparable value."""
        self._let_the_conductor_finish()
        tables, cloud = self.conductor.read(), self.ledger.read()
        instance = tables["Instance"][self.server]
        instances = self.inside(self.state / "instances")
        fields = ("vm_state", "task_state", "power_state", "host", "node", "availability_zone",
                  "config_drive", "root_device_name")  # fmt: skip
        return {
            **{field: instance.get(field) for field in fields},
            "system_metadata": {
                key: "then" if key == "shelved_at" else value
                for key, value in instance["system_metadata"].items()
            },
            "deleted": bool(instance.get("deleted")),
            "domain": self.domain_state(),
            "saved": self.saved(),
            "copying": self.copying(),
            "devices": self.devices(),
            "volumes": self.volumes(),
            "shares": self.shares(),
            "files": sorted(
                str(path.relative_to(instances)).replace(self.server, "server")
                for path in instances.rglob("*")
                if path.is_file() and "/locks/" not in str(path)
            ),
            "ports": len(cloud.get("ports", {})),
            "unbound": len(cloud.get("unbound", {})),
            "records": len(tables.get("VirtualInterface", {})),
            "addresses": [
                len(json.loads(row["network_info"]))
                for row in tables.get("InstanceInfoCache", {}).values()
            ],
            "taps": len(self.taps()),
            "allocations": cloud.get("allocations", {}).get(self.server),
            "journal": sorted(path.name for path in self.journal.glob("*.journal")),
            "images": self.images(),
            "casts": [cast["method"] for cast in tables.get("casts", [])],
            "faults": {
                self._anonymous(row["message"]) for row in tables.get("InstanceFault", {}).values()
            },
            "events": {
                (event, phase, self._anonymous(message))
                for _, event, phase, message in tables.get("events", [])
            },
        }

    def _anonymous(self, text):
        return text and text.replace(self.server, "server")

    def inside(self, path):
        """A path as it is seen inside the namespaces."""
        return Path(f"/proc/{self.lab.daemon.enter()[2]}/root{path}")

    def _let_the_conductor_finish(self):
        deadline = time.monotonic() + 10
        while any(c["due"] != float("inf") for c in self.conductor.read().get("casts", [])):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _domain(self):
        return Lookup(self.lab.daemon.uri, self.server)


class Lookup:
    """The server's domain, or None, for the length of a with statement."""

    def __init__(self, uri, server):
        self._uri, self._server = uri, server

    def __enter__(self):
        self._connection = libvirt.open(self._uri)
        try:
            return self._connection.lookupByUUIDString(self._server)
        except libvirt.libvirtError:
            return None

    def __exit__(self, *_):
        self._connection.close()


def rescue_arguments(image):
    """A rescue that does not ask the guest to power off."""
    return {"rescue_password": "secret", "rescue_image_ref": image, "clean_shutdown": False}


def shelve_arguments():
    """A shelve that does not ask the guest to power off."""
    return {"image_id": SHELF, "clean_shutdown": False, "accel_uuids": []}


def unshelve_arguments():
    """An unshelve on this host."""
    image = {"id": SHELF, "disk_format": "raw", "size": MIB, "properties": {}}
    return {
        "image": image, "filter_properties": {}, "node": "host1", "request_spec": None,
        "accel_uuids": [],
    }  # fmt: skip


def rebuild_arguments():
    """A rebuild from the server's own image."""
    return {
        "new_pass": "secret", "injected_files": [], "image_ref": IMAGE, "orig_image_ref": IMAGE,
        "orig_sys_metadata": {"image_base_image_ref": IMAGE}, "bdms": None, "recreate": False,
        "on_shared_storage": False, "preserve_ephemeral": False, "migration": None,
        "scheduled_node": None, "limits": {}, "request_spec": None, "accel_uuids": [],
        "reimage_boot_volume": False, "target_state": None,
    }  # fmt: skip


def recorded():
    """The arguments of a recorded build."""
    return json.loads(RECORDED.read_text())[0]["request"]["args"]


def attach_arguments():
    mapping = WireObject.new("BlockDeviceMapping", "1.21", **MAPPING)
    mapping.clear_changes()
    return {"bdm": unwrap(mapping)}


def share_arguments(status):
    """A request about the server's share; the server is filled in by Host.message."""
    row = {**SHARE_MAPPING, "instance_uuid": None, "status": status}
    mapping = WireObject.new("ShareMapping", "1.2", **row)
    mapping.clear_changes()
    return {"share_mapping": unwrap(mapping)}


def build_arguments(retry=True):
    """The same without the instance and what a stand-in cloud has no use for."""
    arguments = recorded()
    arguments.pop("instance")
    arguments["image"].update(id=IMAGE, disk_format="raw", size=MIB, properties={})
    mapping = arguments["block_device_mapping"]["nova_object.data"]["objects"][0]
    mapping["nova_object.data"].update(
        source_type="image", destination_type="local", boot_index=0, device_name=None,
        volume_id=None, snapshot_id=None, device_type="disk", disk_bus=None,
        guest_format=None, image_id=IMAGE, id=1, tag=None,
    )  # fmt: skip
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [mapping]
    networks = arguments["requested_networks"]["nova_object.data"]
    networks["objects"] = networks["objects"][:1]
    if not retry:
        arguments["filter_properties"] = {}
    return arguments


def volume_arguments(retry=True):
    """A build of a server whose disks are volumes."""
    arguments = build_arguments(retry)
    rows = [WireObject.new("BlockDeviceMapping", "1.21", **row) for row in (ROOT_VOLUME, MAPPING)]
    for row in rows:
        row.clear_changes()
    arguments["block_device_mapping"]["nova_object.data"]["objects"] = [unwrap(r) for r in rows]
    return arguments
