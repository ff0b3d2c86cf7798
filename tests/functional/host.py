"""One host of a trial: what the server has there, and what happens to it."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import libvirt

from tests.fakes.power_failure import DurableFiles
from tests.functional import libvirt_secrets
from tests.functional.messages import CONTENT, VOLUME
from tests.functional.tpm import Tpm

CONF = """[DEFAULT]
host = {name}
state_path = {state}
log_file = {state}/agent.log
shutdown_timeout = {patience}
force_config_drive = true
resume_guests_state_on_host_boot = true
[nova_lite]
runtime_path = {state}/run
[libvirt]
virt_type = qemu
connection_uri = {uri}
cpu_mode = none
wait_soft_reboot_seconds = {patience}
tb_cache_size = 32
"""


@dataclass
class Kept:
    """What of a host is not in files, to come back to."""

    domain: str | None
    state: int | None
    saved: bool
    taps: set[str]
    secrets: list[tuple[str, bytes]]


class Host:
    """The state directory of an agent on a machine, and one server's part of that machine."""

    def __init__(self, name, number, machine, trial) -> None:
        self.name, self.daemon = name, machine.daemon
        self._number, self._machine, self._trial = number, machine, trial
        self.state = trial.directory / name
        # Where the machine has it.
        self.home = trial.home(name)
        self.journal = self.state / "nova-lite" / "journal"
        self._durable = DurableFiles(self.state, trial.directory / f"{name}.durable")
        self.tpm = Tpm(machine.daemon, trial)
        self._boots = 1
        self._kept: Kept | None = None
        # An agent has been here for a while: what it makes once is there and synced.
        for made in (self.state / "instances", self.journal):
            made.mkdir(parents=True)
        self._mount()
        patience = 60 if trial.polite else 1
        (self.state / "nova.conf").write_text(
            CONF.format(name=name, state=self.home, uri=self.daemon.uri, patience=patience)
        )

    def run(self, *messages, kill=None, kill_in=None, durable=False, **order):
        """Run a victim to its end; True when it ended by itself, False when it was killed.

        :param kill: boundary at which it is killed
        :param kill_in: boundary -> seconds after it
        :param durable: whether what it syncs is recorded, see ``lose_power``
        :param order: see ``victim.Order``
        """
        if kill:
            order["at"] = {kill: {"kill": True}}
        if kill_in:
            order["at"] = {name: {"kill in": seconds} for name, seconds in kill_in.items()}
        if durable:
            order["durable"] = str(self._durable.store)
        status = self._machine.run({
            "log": str(self._trial.lab.log), "state": str(self.home),
            "cloud": str(self._trial.directory), "node_id": self._number,
            "boot_id": f"{self.name}-{self._boots}", "messages": list(messages), **order,
        })  # fmt: skip
        assert status in (0, -9), self._trial.lab.said()
        return status == 0

    def configure(self, line, group="DEFAULT"):
        """Another value of an option: the last one counts."""
        with open(self.state / "nova.conf", "a") as file:
            file.write(f"[{group}]\n{line}\n")

    # --- again and again --------------------------------------------------------------------
    def keep(self):
        """Remember what is not in files."""
        with self._domain() as domain:
            xml = domain and domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            state = domain and domain.state()[0]
            saved = bool(domain and domain.hasManagedSaveImage())
        volumes = [VOLUME] if self._trial.encrypted else []
        secrets = libvirt_secrets.kept(self.daemon.uri, self._trial.server, *volumes)
        self._kept = Kept(xml, state, saved, self.taps(), secrets)
        self.tpm.keep()

    def restore(self):
        """Bring it back; nothing of it is there, and the files are."""
        kept = self._kept
        self._mount()
        for tap in kept.taps:
            self.daemon.run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        self.tpm.restore()
        libvirt_secrets.define(self.daemon.uri, *kept.secrets)
        if kept.domain:
            connection = libvirt.open(self.daemon.uri)
            domain = connection.defineXML(kept.domain)
            if kept.saved or kept.state != libvirt.VIR_DOMAIN_SHUTOFF:
                with self.tpm.unlocked(kept.domain):
                    domain.create()
                self.wait_for_guest()
            if kept.state == libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()
            if kept.saved:
                domain.managedSave()
            connection.close()

    def _mount(self):
        if self.home != self.state:
            self.home.mkdir(exist_ok=True)
            self.daemon.run("mount", "--bind", str(self.state), str(self.home))

    def wait_for_guest(self):
        """Until a polite guest that runs can hear the power button."""
        console = self.state / "instances" / self._trial.server / "console.log"
        deadline = time.monotonic() + 60
        while self._trial.polite and self.domain_state() == libvirt.VIR_DOMAIN_RUNNING:
            if console.exists() and b"R" in console.read_bytes()[-1:]:
                return
            assert time.monotonic() < deadline, "the guest does not boot"
            time.sleep(0.05)

    def clear(self):
        """Remove what is not in files."""
        with self._domain() as domain:
            if domain is not None:
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        if self._trial.encrypted:
            self.forget_secrets()
        self.tpm.clear()
        self._remove_taps()

    def lose_power(self):
        """The power failed, and the machine is up again without its agent.

        What the agent has not synced is gone, guests are off; taps, mounts, connections of volumes
        and the secrets of requests are gone. libvirt syncs the definitions of guests and its own
        secrets: they stay.
        """
        with self._domain() as domain:
            if domain is not None and domain.isActive():
                # One that is being powered off may be off by now.
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                assert not domain.isActive()
        self._durable.lose_rest()
        self._remove_taps()
        for gone in ("connected", "mounted", "run"):
            shutil.rmtree(self.state / gone, ignore_errors=True)
        self._boots += 1

    def sync_disks(self):
        """What QEMU has written to the server's disks survives a power failure: it flushes a disk
        that it has copied."""
        for path in (self.state / "instances" / self._trial.server).glob("disk"):
            self._durable.keep(path)

    def _remove_taps(self):
        for tap in self.taps():
            self.daemon.run("ip", "link", "del", tap)

    # --- secrets ----------------------------------------------------------------------------
    def secrets(self):
        """The secrets by which libvirt can open the encrypted volume."""
        with libvirt_secrets.found(self.daemon.uri, VOLUME) as found:
            return [secret.UUIDString() for secret in found]

    def forget_secrets(self):
        libvirt_secrets.forget(self.daemon.uri, VOLUME)

    # --- looking ----------------------------------------------------------------------------
    def look(self):
        """Everything that is here, as one comparable value."""
        instances = self.inside(self.state / "instances")
        return {
            "domain": self.domain_state(),
            "saved": self.saved(),
            "copying": self.copying(),
            "devices": self.devices(),
            "volumes": self._volumes(),
            "shares": self._shares(),
            "files": sorted(
                str(path.relative_to(instances)).replace(self._trial.server, "server")
                for path in instances.rglob("*")
                if path.is_file() and "/locks/" not in str(path)
            ),
            "taps": len(self.taps()),
            "journal": sorted(path.name for path in self.journal.glob("*.journal")),
        }

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

    def devices(self):
        """Kinds and host sides of the guest's disks, network cards and serial ports on TCP."""
        with self._domain() as domain:
            if domain is None:
                return []
            devices = ElementTree.fromstring(domain.XMLDesc(0)).find("devices")
        ports = devices.findall("serial[@type='tcp']/source")
        return [
            (device.tag, device.find("target").get("dev").replace(self._trial.server[:8], ""))
            for device in devices
            if device.tag in ("disk", "interface")
        ] + [("serial", port.get("service")[-1]) for port in ports]

    def _volumes(self):
        """What the host and the guest (now and at its next start) have of volumes."""
        texts = self._definitions()
        return {
            "places": [self._place(text) for text in texts],
            "secrets": len(self.secrets()) if self._trial.encrypted else 0,
            "connected": self._count("connected"),
            "disks": [
                sorted(
                    disk.text if disk.text == VOLUME else "made"
                    for disk in ElementTree.fromstring(text).findall(".//disk/serial")
                )
                for text in texts
            ],
        }

    def _shares(self):
        """The same of shares."""
        return {
            "mounted": self._count("mounted"),
            "tags": [
                [target.get("dir") for target in
                 ElementTree.fromstring(text).findall(".//filesystem/target")]
                for text in self._definitions()
            ],
        }  # fmt: skip

    def _count(self, name):
        directory = self.state / name
        return len(list(directory.iterdir())) if directory.exists() else 0

    def _definitions(self):
        """The guest as it is now, and as it will be at its next start."""
        with self._domain() as domain:
            flags = () if domain is None else (0, libvirt.VIR_DOMAIN_XML_INACTIVE)
            return [domain.XMLDesc(flag) for flag in flags]

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
        lines = Path(f"/proc/{self.daemon.enter()[2]}/net/dev").read_text().splitlines()[2:]
        mine = f"tap{self._trial.server[:8]}"
        return {name for line in lines if (name := line.split(":")[0].strip()).startswith(mine)}

    def inside(self, path):
        """A path as it is seen inside the namespaces."""
        return Path(f"/proc/{self.daemon.enter()[2]}/root{path}")

    def _domain(self):
        return Lookup(self.daemon.uri, self._trial.server)


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
