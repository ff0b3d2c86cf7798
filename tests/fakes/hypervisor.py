"""A hypervisor in memory that keeps the contract of drivers/hypervisor/base.py."""

from __future__ import annotations

import threading
import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from nova_lite.drivers.disk import qemu_img
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import (
    DeviceDetachFailed,
    DomainNotFound,
    GuestAgentNotEnabled,
    GuestAgentUnresponsive,
    GuestNotRunning,
    HypervisorError,
    HypervisorUnavailable,
    NoFreeSlot,
    NovaLiteError,
)
from nova_lite.model.diagnostics import DiskStats, GuestStats, NicStats
from nova_lite.model.domain import DiskSpec, DomainSpec, NicSpec
from nova_lite.model.host import (
    Capabilities,
    ConsoleAddress,
    DomainEvent,
    DomainInfo,
    GuestDevice,
    GuestDisk,
    HostFacts,
)
from nova_lite.model.live_migration import Migrating
from nova_lite.model.states import PowerState
from tests.fakes.live_migrations import FEATURES, MODEL, OFF, FakeLiveMigrations, Guest


class FakeHypervisor(FakeLiveMigrations, Hypervisor):
    """``guests`` is what would be QEMU processes and definitions; tests may look at it.

    ``calls`` lists (method, uuid). ``available`` false makes every method raise
    HypervisorUnavailable; ``fail(method, error)`` makes the next call of one method raise;
    guests in ``ignores_acpi_shutdown`` do not power off when they are asked to. Guests in
    ``agents`` have an agent that answers (if their definition has a channel to it); ``frozen`` and
    ``passwords`` are what it did.
    Guests in ``stubborn`` keep disks and cards that they are asked for; a guest has no more than
    ``slots`` cards; ``secrets`` maps the id of an
    encrypted volume to (uuid, passphrase), ``tpm_secrets`` a guest to those of its TPM, of which
    ``kept_tpm_secrets`` are on disk. ``resident_kib`` is how much of their memory guests have used,
    all of it where it says nothing. ``foreign`` are devices that another agent has defined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.guests: dict[str, Guest] = {}
        self.calls: list[tuple[str, str]] = []
        self.available = True
        self.ignores_acpi_shutdown: set[str] = set()
        self.agents: set[str] = set()
        self.frozen: set[str] = set()
        self.passwords: dict[tuple[str, str], str] = {}
        self.stubborn: set[str] = set()
        self.resident_kib: dict[str, int] = {}
        self.slots = 8
        self.secrets: dict[str, tuple[str, str]] = {}
        self.tpm_secrets: dict[str, tuple[str, bytes]] = {}
        self.kept_tpm_secrets: set[str] = set()
        self.tpm_states: dict[str, bytes] = {}
        self.nvrams: dict[str, bytes] = {}
        self.foreign: dict[str, tuple[str, ...]] = {}
        self._failures: dict[str, list[NovaLiteError]] = {}
        self._callbacks: list[Callable[[DomainEvent], None]] = []
        self._texts: dict[str, DomainSpec] = {}
        self._lock = threading.RLock()

    # --- for tests ----------------------------------------------------------------------------
    def fail(self, method: str, error: NovaLiteError) -> None:
        """Make the next call of ``method`` raise ``error``."""
        self._failures.setdefault(method, []).append(error)

    def emit(self, uuid: str, kind: str, detail: str = "") -> None:
        """Tell the subscribers of an event."""
        for callback in list(self._callbacks):
            callback(DomainEvent(uuid, kind, detail))

    def crash(self, uuid: str) -> None:
        """The guest's process dies."""
        self.guests[uuid].state = PowerState.SHUTDOWN
        self.emit(uuid, "stopped", "failed")

    # --- the contract -------------------------------------------------------------------------
    def connect(self) -> None:
        self._called("connect")

    def close(self) -> None:
        self._callbacks.clear()

    def ping(self) -> None:
        self._called("ping")

    def facts(self) -> HostFacts:
        self._called("facts")
        return HostFacts(
            hostname="fake.example",
            uuid="5f7c9d3a-0000-4000-8000-00000000fa4e",
            arch="x86_64",
            hypervisor_type="QEMU",
            hypervisor_version=7002022,
            libvirt_version=9000000,
            online_cpus=frozenset(range(4)),
            memory_mb=16384,
            cpu={
                "arch": "x86_64",
                "model": MODEL,
                "vendor": "Intel",
                "topology": {"cells": 1, "sockets": 1, "cores": 4, "threads": 1},
                "features": list(FEATURES),
            },
            guests=(("x86_64", "kvm", "hvm"), ("x86_64", "qemu", "hvm")),
        )

    def capabilities(self) -> Capabilities:
        self._called("capabilities")
        return Capabilities(
            traits=frozenset({"COMPUTE_NODE", "OWNER_NOVA", "COMPUTE_IMAGE_TYPE_QCOW2"}),
            machine_types={"x86_64": ("pc", "q35")},
            firmware=frozenset({"bios", "uefi"}),
        )

    def subscribe(self, callback: Callable[[DomainEvent], None]) -> None:
        self._callbacks.append(callback)

    def domains(self) -> list[DomainInfo]:
        self._called("domains")
        return [
            DomainInfo(uuid, g.spec.name, g.state, g.spec.memory_kib, g.spec.vcpus)
            for uuid, g in self.guests.items()
        ]

    def power_state(self, uuid: str) -> PowerState:
        return self._guest("power_state", uuid).state

    def define(self, spec: DomainSpec) -> None:
        self._called("define", spec.uuid)
        with self._lock:
            if any(g.spec.name == spec.name and u != spec.uuid for u, g in self.guests.items()):
                raise HypervisorError(f"another guest is named {spec.name}")
            guest = self.guests.setdefault(spec.uuid, Guest(spec))
            guest.spec = spec
            self.foreign.pop(spec.uuid, None)

    def definition(self, uuid: str) -> str:
        spec = self._guest("definition", uuid).spec
        self._texts[repr(spec)] = spec
        return repr(spec)

    def redefine(self, uuid: str, definition: str) -> None:
        self.define(self._texts[definition])

    def describe(self, uuid: str, metadata: Mapping[str, object]) -> None:
        guest = self._guest("describe", uuid)
        guest.spec = replace(guest.spec, metadata=dict(metadata))

    def defined(self, uuid: str) -> bool:
        self._called("defined", uuid)
        return uuid in self.guests

    def start(self, uuid: str, *, paused: bool = False) -> None:
        guest = self._guest("start", uuid)
        if guest.state in OFF:
            self.open_tpm(guest.spec)
            guest.state = PowerState.PAUSED if paused else PowerState.RUNNING
            guest.saved = False
            guest.plugged = guest.spec.disks
            self.emit(uuid, "started", "booted")

    def open_tpm(self, spec: DomainSpec) -> None:
        """What swtpm needs when a guest starts, or comes."""
        known = self.tpm_secrets.get(spec.uuid, ("", b""))[0]
        if spec.tpm_secret and spec.tpm_secret != known:
            raise HypervisorError(f"guest {spec.uuid}: Secret not found")

    def pause(self, uuid: str) -> None:
        guest = self._running("pause", uuid)
        if guest.state != PowerState.PAUSED:
            guest.state = PowerState.PAUSED
            self.emit(uuid, "paused", "paused")

    def save(self, uuid: str) -> None:
        if self._guest("save", uuid).saved:
            return
        guest = self._running("save", uuid)
        guest.state, guest.saved = PowerState.SHUTDOWN, True
        self.emit(uuid, "stopped", "saved")

    def saved(self, uuid: str) -> bool:
        return self._guest("saved", uuid).saved

    def sync_time(self, uuid: str) -> None:
        self._called("sync_time", uuid)

    def restore(self, uuid: str) -> None:
        guest = self._guest("restore", uuid)
        if guest.state != PowerState.RUNNING:
            self.open_tpm(guest.spec)
            guest.state, guest.saved = PowerState.RUNNING, False
            self.emit(uuid, "started", "restored")

    def inject_nmi(self, uuid: str) -> None:
        self._running("inject_nmi", uuid)

    def stats(self, uuid: str) -> GuestStats:
        guest = self._guest("stats", uuid)
        return GuestStats(
            state=guest.state,
            max_memory_kib=guest.spec.memory_kib,
            memory_kib=guest.spec.memory_kib,
            cpu_ns=dict.fromkeys(range(guest.spec.vcpus), 10**9),
            disks=tuple(DiskStats(d.target, 1, 512, 2, 1024, 0) for d in guest.spec.disks),
            nics=tuple(
                NicStats(n.target, n.mac, 1, 2, 3, 4, 5, 6, 7, 8)
                for n in guest.spec.nics
                if n.target
            ),
            memory={
                "actual": guest.spec.memory_kib,
                "rss": self.resident_kib.get(uuid, guest.spec.memory_kib),
            },
        )

    def resume(self, uuid: str) -> None:
        guest = self._running("resume", uuid)
        if guest.state != PowerState.RUNNING:
            guest.state = PowerState.RUNNING
            self.emit(uuid, "resumed", "unpaused")

    def shutdown(self, uuid: str) -> None:
        guest = self._guest("shutdown", uuid)
        if guest.state == PowerState.RUNNING and uuid not in self.ignores_acpi_shutdown:
            guest.state = PowerState.SHUTDOWN
            self.emit(uuid, "stopped", "shutdown")

    def destroy(self, uuid: str) -> None:
        self._called("destroy", uuid)
        guest = self.guests.get(uuid)
        if guest is not None and guest.state not in OFF:
            guest.state = PowerState.SHUTDOWN
            self.emit(uuid, "stopped", "destroyed")

    def copy_tpm_state(self, uuid: str, target: Path) -> bool:
        self._called("copy_tpm_state", uuid)
        if uuid not in self.tpm_states:
            return False
        if not target.exists():
            target.mkdir()
            (target / "tpm2-00.permall").write_bytes(self.tpm_states[uuid])
        return True

    def restore_tpm_state(self, uuid: str, source: Path) -> None:
        self._called("restore_tpm_state", uuid)
        self.tpm_states[uuid] = (source / "tpm2-00.permall").read_bytes()

    def copy_nvram(self, uuid: str, target: Path) -> bool:
        self._called("copy_nvram", uuid)
        if uuid in self.nvrams and not target.exists():
            target.write_bytes(self.nvrams[uuid])
        return uuid in self.nvrams

    def restore_nvram(self, uuid: str, source: Path) -> None:
        self._guest("restore_nvram", uuid)
        self.nvrams[uuid] = source.read_bytes()

    def forget_nvram(self, uuid: str, name: str) -> None:
        self._called("forget_nvram", uuid)
        if uuid not in self.guests:
            self.nvrams.pop(uuid, None)

    def undefine(self, uuid: str, *, keep_nvram: bool = False) -> None:
        self._called("undefine", uuid)
        guest = self.guests.get(uuid)
        if guest is None:
            return
        if guest.state not in OFF:
            raise HypervisorError(f"guest {uuid} still runs")
        del self.guests[uuid]
        if not keep_nvram and guest.migrating == Migrating.NO:  # else libvirt has no definition
            self.nvrams.pop(uuid, None)

    def graphics(self, uuid: str, kind: str) -> ConsoleAddress | None:
        guest = self._guest("graphics", uuid)
        for number, graphics in enumerate(guest.spec.graphics):
            if graphics.kind == kind and guest.state not in OFF:
                return ConsoleAddress(graphics.listen, 5900 + number)
        return None

    def serial_ports(self, uuid: str) -> list[ConsoleAddress]:
        guest = self._guest("serial_ports", uuid)
        return [] if guest.state in OFF else _serial_ports(guest.spec)

    def all_serial_ports(self) -> dict[str, list[ConsoleAddress]]:
        self._called("all_serial_ports")
        return {uuid: _serial_ports(guest.spec) for uuid, guest in self.guests.items()}

    def taps(self, uuid: str) -> list[tuple[str, str]]:
        nics = self._guest("taps", uuid).spec.nics
        return [(nic.mac, nic.target) for nic in nics if nic.target]

    def devices(self, uuid: str) -> list[GuestDevice]:
        spec = self._guest("devices", uuid).spec
        names = [("disk", d.target) for d in spec.disks] + [("nic", n.mac) for n in spec.nics]
        return [
            GuestDevice(kind, name, "pci", f"0000:00:{slot:02x}.0")
            for slot, (kind, name) in enumerate(names, 3)
        ]

    def foreign_devices(self, uuid: str) -> list[str]:
        self._guest("foreign_devices", uuid)
        return list(self.foreign.get(uuid, ()))

    def disks(self, uuid: str) -> list[GuestDisk]:
        guest = self._guest("disks", uuid)
        plugged = () if guest.state in OFF else guest.plugged
        return [
            GuestDisk(d.target, d.serial, d.source, plugged=d in plugged, defined=True)
            for d in guest.spec.disks
        ]

    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        guest = self._guest("attach_disk", uuid)
        if any((d.serial, d.source) == (disk.serial, disk.source) for d in guest.spec.disks):
            return
        if guest.saved:
            raise HypervisorError(f"guest {uuid} is suspended")
        if any(d.serial == disk.serial or d.target == disk.target for d in guest.spec.disks):
            raise HypervisorError(f"{disk.target} or {disk.serial} is another disk already")
        self._set_disks(guest, (*guest.spec.disks, disk))

    def detach_disk(self, uuid: str, serial: str) -> None:
        self._called("detach_disk", uuid)
        guest = self.guests.get(uuid)
        if guest is None:
            return
        if guest.saved:
            raise DeviceDetachFailed(serial, "the guest is suspended")
        if all(d.serial != serial for d in guest.spec.disks):
            return
        if uuid in self.stubborn and guest.state not in OFF:
            raise DeviceDetachFailed(serial, "the guest did not release it")
        self._set_disks(guest, tuple(d for d in guest.spec.disks if d.serial != serial))

    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        guest = self._guest("attach_nic", uuid)
        if any((n.mac, n.target) == (nic.mac, nic.target) for n in guest.spec.nics):
            return
        if guest.saved:
            raise HypervisorError(f"guest {uuid} is suspended")
        if len(guest.spec.nics) >= self.slots:
            raise NoFreeSlot("the guest has no free PCI slot")
        guest.spec = replace(guest.spec, nics=(*guest.spec.nics, nic))

    def detach_nic(self, uuid: str, mac: str, device: str) -> None:
        self._called("detach_nic", uuid)
        guest = self.guests.get(uuid)
        if guest is None:
            return
        if guest.saved:
            raise DeviceDetachFailed(mac, "the guest is suspended")
        left = tuple(n for n in guest.spec.nics if (n.mac, n.target) != (mac, device))
        if len(left) < len(guest.spec.nics) and guest.state == PowerState.PAUSED:
            raise DeviceDetachFailed(mac, "the guest is paused")
        if len(left) < len(guest.spec.nics) and uuid in self.stubborn and guest.state not in OFF:
            raise DeviceDetachFailed(mac, "the guest did not release it")
        guest.spec = replace(guest.spec, nics=left)

    @staticmethod
    def _set_disks(guest: Guest, disks: tuple[DiskSpec, ...]) -> None:
        guest.spec = replace(guest.spec, disks=disks)
        guest.plugged = disks

    def resize_disk(self, uuid: str, serial: str, size_bytes: int) -> None:
        guest = self._guest("resize_disk", uuid)
        if guest.state in OFF:
            return
        if all(disk.serial != serial for disk in guest.spec.disks):
            raise HypervisorError(f"guest {uuid} has no disk {serial}")
        guest.sizes[serial] = size_bytes

    def disk_size(self, uuid: str, serial: str) -> int | None:
        guest, own = self._disk("disk_size", uuid, serial)
        if guest.state in OFF:
            return None
        return guest.sizes.get(serial) or Path(own.source).stat().st_size

    def set_secret(self, usage_id: str, passphrase: str) -> str:
        self._called("set_secret")
        uuid = self.secrets[usage_id][0] if usage_id in self.secrets else str(uuids.uuid4())
        self.secrets[usage_id] = uuid, passphrase
        return uuid

    def secret(self, usage_id: str) -> str | None:
        self._called("secret")
        return self.secrets[usage_id][0] if usage_id in self.secrets else None

    def set_tpm_secret(
        self, uuid: str, secret_uuid: str, passphrase: bytes, *, kept: bool = False
    ) -> None:
        self._called("set_tpm_secret", uuid)
        self.tpm_secrets[uuid] = secret_uuid, passphrase
        (self.kept_tpm_secrets.add if kept else self.kept_tpm_secrets.discard)(uuid)

    def tpm_secret(self, uuid: str) -> tuple[str, bytes] | None:
        self._called("tpm_secret", uuid)
        return self.tpm_secrets.get(uuid) if uuid in self.kept_tpm_secrets else None

    def forget_tpm_secret(self, uuid: str) -> None:
        self._called("forget_tpm_secret", uuid)
        self.tpm_secrets.pop(uuid, None)
        self.kept_tpm_secrets.discard(uuid)

    def forget_secret(self, usage_id: str) -> None:
        self._called("forget_secret")
        self.secrets.pop(usage_id, None)

    def freeze(self, uuid: str) -> None:
        self._agent("freeze", uuid)
        self.frozen.add(uuid)

    def thaw(self, uuid: str) -> None:
        self._agent("thaw", uuid)
        self.frozen.discard(uuid)

    def set_password(self, uuid: str, user: str, password: str) -> None:
        self._agent("set_password", uuid)
        self.passwords[uuid, user] = password

    def _agent(self, method: str, uuid: str) -> None:
        guest = self._guest(method, uuid)
        if guest.state in OFF:
            raise HypervisorError(f"guest {uuid} is not running")
        if not guest.spec.guest_agent:
            raise GuestAgentNotEnabled(uuid)
        if uuid not in self.agents:
            raise GuestAgentUnresponsive(f"the agent of guest {uuid} does not answer")

    def mirror_disk(self, uuid: str, disk: Path, target: Path, disk_format: str) -> None:
        guest = self._guest("mirror_disk", uuid)
        if guest.state in OFF:
            raise HypervisorError(f"guest {uuid} is not running")
        if str(disk) not in [d.source for d in guest.spec.disks]:
            raise HypervisorError(f"guest {uuid} has no disk {disk}")
        if disk not in guest.mirrors:
            target.touch()
            guest.mirrors[disk] = target, disk_format

    def mirror_ready(self, uuid: str, disk: Path) -> bool:
        self._mirror("mirror_ready", uuid, disk)
        return True

    def finish_mirror(self, uuid: str, disk: Path) -> None:
        target, disk_format = self._mirror("finish_mirror", uuid, disk)
        guest = self.guests[uuid]
        own = next(d.format for d in guest.spec.disks if d.source == str(disk))
        qemu_img.convert(disk, target, own, disk_format)
        del guest.mirrors[disk]

    def drop_mirror(self, uuid: str, disk: Path) -> None:
        self._called("drop_mirror", uuid)
        if uuid in self.guests:
            self.guests[uuid].mirrors.pop(disk, None)

    def _mirror(self, method: str, uuid: str, disk: Path) -> tuple[Path, str]:
        guest = self._guest(method, uuid)
        if guest.state in OFF or disk not in guest.mirrors:
            raise HypervisorError(f"no copy of disk {disk} of guest {uuid} is being made")
        return guest.mirrors[disk]

    def begin_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        guest, own = self._plugged("begin_move", uuid, serial)
        copied_to = guest.moves.get(serial)
        if own.source == disk.source:
            return
        if copied_to is not None and copied_to.source != disk.source:
            raise HypervisorError(f"disk {serial} is being copied already")
        if not Path(disk.source).exists():
            raise HypervisorError(f"no {disk.source}")
        guest.moves[serial] = disk

    def move_ready(self, uuid: str, serial: str) -> bool:
        guest = self._guest("move_ready", uuid)
        if guest.state in OFF or serial not in guest.moves:
            raise HypervisorError(f"disk {serial} of guest {uuid} is not being moved")
        return True

    def finish_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        guest, own = self._plugged("finish_move", uuid, serial)
        if own.source == disk.source:
            return
        if serial not in guest.moves:
            raise HypervisorError(f"disk {serial} of guest {uuid} is not being moved")
        Path(disk.source).write_bytes(Path(own.source).read_bytes())
        del guest.moves[serial]
        moved = replace(own, source=disk.source, format=disk.format)
        self._set_disks(guest, tuple(moved if d == own else d for d in guest.spec.disks))

    def drop_move(self, uuid: str, serial: str) -> None:
        self._called("drop_move", uuid)
        if uuid in self.guests:
            self.guests[uuid].moves.pop(serial, None)

    def overlay_disk(self, uuid: str, serial: str, overlay: str) -> None:
        guest, own = self._disk("overlay_disk", uuid, serial)
        path = str(Path(own.source).with_name(overlay))
        if own.source == path:
            return
        guest.chains[serial] = [path, *guest.chains.get(serial, [own.source])]
        over = replace(own, source=path, format="qcow2")
        self._set_disks(guest, tuple(over if d == own else d for d in guest.spec.disks))

    def disk_chain(self, uuid: str, serial: str) -> list[str]:
        guest, own = self._disk("disk_chain", uuid, serial)
        return [own.source] if guest.state in OFF else guest.chains.get(serial, [own.source])[:]

    def begin_merge(self, uuid: str, serial: str, top: str | None, base: str | None) -> None:
        guest, own = self._plugged("begin_merge", uuid, serial)
        chain = guest.chains.get(serial, [own.source])
        names = [Path(path).name for path in chain]
        if any(name is not None and Path(name).name not in names for name in (top, base)):
            raise HypervisorError(f"disk {serial} is not based on {top} or {base}")
        first = names.index(Path(top).name) if top else 1
        last = names.index(Path(base).name) if base else len(chain)
        guest.chains[serial] = chain[:first] + chain[last:]

    def merging(self, uuid: str, serial: str) -> bool:
        self._disk("merging", uuid, serial)
        return False

    def _disk(self, method: str, uuid: str, serial: str) -> tuple[Guest, DiskSpec]:
        guest = self._guest(method, uuid)
        for disk in guest.spec.disks:
            if disk.serial == serial:
                return guest, disk
        raise HypervisorError(f"guest {uuid} has no disk {serial}")

    def _plugged(self, method: str, uuid: str, serial: str) -> tuple[Guest, DiskSpec]:
        self._running(method, uuid)
        return self._disk(method, uuid, serial)

    def _called(self, method: str, uuid: str = "") -> None:
        self.calls.append((method, uuid))
        if not self.available:
            raise HypervisorUnavailable("the fake hypervisor is away")
        if self._failures.get(method):
            raise self._failures[method].pop(0)

    def _guest(self, method: str, uuid: str) -> Guest:
        self._called(method, uuid)
        if uuid not in self.guests:
            raise DomainNotFound(f"no guest {uuid}")
        return self.guests[uuid]

    def _running(self, method: str, uuid: str) -> Guest:
        guest = self._guest(method, uuid)
        if guest.state in OFF:
            raise GuestNotRunning(f"Instance {uuid} is not running.")
        return guest


def _serial_ports(spec: DomainSpec) -> list[ConsoleAddress]:
    host, ports = spec.serial_tcp or ("", ())
    return [ConsoleAddress(host, port) for port in ports]
