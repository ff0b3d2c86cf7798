"""Live migrations whose agent, daemon or network fails in the middle."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor, nvram
from nova_lite.errors import (
    DomainNotFound,
    GuestNotRunning,
    HypervisorError,
    HypervisorUnavailable,
)
from nova_lite.model.domain import DiskSpec, NicSpec
from nova_lite.model.host import DomainEvent
from nova_lite.model.live_migration import (
    GuestAt,
    LiveMigration,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState
from tests.fakes.certificates import Authority
from tests.fakes.guests import MIB, tiny_guest, writing_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.functional.messages import REPOSITORY
from tests.libvirt_driver import connected, driver_at

pytestmark = pytest.mark.libvirt

RUNS = GuestAt(PowerState.RUNNING)
ENOUGH_MS = 5_000
LONG_MS = 300_000  # ten times what its memory takes
# An agent that begins a migration, says so and waits for its end.
AGENT = """
import sys, threading
from nova_lite.model.live_migration import LiveMigration
from tests.libvirt_driver import driver_at
own, uuid, target, address = sys.argv[1:]
driver = driver_at(own)
driver.connect()
definition = driver.live_definition(uuid)
driver.migrate(uuid, LiveMigration(target, definition, f"tcp://{address}", bandwidth_mib_s=20))
while not driver.migration(uuid).memory_remaining:
    pass
print("begun", flush=True)
threading.Event().wait()
"""
# Tells the senders of the RARP frames that come out of a device, and when there is none for 2 s.
LISTENER = """
import socket, sys
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035))
line.bind((sys.argv[1], 0x8035))
line.settimeout(2)
while True:
    try:
        print(line.recv(64)[6:12].hex(":"), flush=True)
    except TimeoutError:
        print("silence", flush=True)
"""
ROUNDS = 5


@dataclass
class Hosts:
    """A guest runs here and writes to its memory; the daemons talk over TCP."""

    here: LibvirtHypervisor
    there: LibvirtHypervisor
    daemons: tuple[PrivateLibvirtd, PrivateLibvirtd]
    address: str
    uuid: str
    events: queue.Queue[DomainEvent]

    def begin(self, **wanted: object) -> None:
        """Send it, and return when its memory is on its way; this does not end by itself."""
        self.here.migrate(self.uuid, replace(self.order(), **{"bandwidth_mib_s": 4, **wanted}))
        self.until(lambda progress: progress.memory_remaining > 0)

    def order(self) -> LiveMigration:
        definition = self.here.live_definition(self.uuid)
        return LiveMigration(self.target, definition, f"tcp://{self.address}")

    @property
    def target(self) -> str:
        return f"qemu+tcp://{self.address}/system"

    def until(
        self, wanted: Callable[[MigrationProgress], bool], patience: float = 60
    ) -> MigrationProgress:
        deadline = time.monotonic() + patience
        while True:
            found = self.here.migration(self.uuid)
            if wanted(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    def over(self) -> MigrationProgress:
        """How it ended; a stop of seconds is fine, for the machine may be busy."""

        def ended(progress: MigrationProgress) -> bool:
            if progress.active:
                self.here.set_migration_downtime(self.uuid, ENOUGH_MS)
            return progress.over

        return self.until(ended)

    def hold(self) -> None:
        """Into the switch-over: all memory has gone, and the other daemon, which stands still for
        that, is asked to let the guest run."""
        self.daemons[1].signal_libvirtd(signal.SIGSTOP)
        self.here.set_migration_downtime(self.uuid, LONG_MS)
        while (event := self.events.get(timeout=30)).kind != "paused":
            pass
        assert event.of_migration

    def places(self) -> tuple[GuestAt | None, GuestAt | None]:
        """The guest on either host, as each tells."""
        here = self.here.guest_at(None, self.uuid)
        return here, self.there.guest_at(None, self.uuid)

    def until_at(self, *wanted: GuestAt | None) -> None:
        deadline = time.monotonic() + 30
        while self.places() != wanted:
            assert time.monotonic() < deadline, self.places()
            time.sleep(0.1)

    def slow_post_copy(self) -> None:
        self.resumption = replace(self.order(), post_copy=True)
        domain = self.here._with_domain("look", self.uuid, lambda found: found)
        domain.migrateSetMaxSpeed(2, libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY)

    def cut(self, *, off: bool) -> None:
        """The cable between the hosts."""
        end = f"nvl{self.daemons[1].directory.name[:5]}b"
        self.daemons[1].run("ip", "link", "set", end, "down" if off else "up")


@pytest.fixture
def hosts(
    linked_libvirtds: tuple[tuple[PrivateLibvirtd, str], tuple[PrivateLibvirtd, str]],
    tmp_path: Path,
) -> Iterator[Hosts]:
    (first, _), (second, address) = linked_libvirtds
    spec = writing_guest(tmp_path, pause=200)
    events: queue.Queue[DomainEvent] = queue.Queue()
    here, there = driver_at(first.uri), driver_at(second.uri)
    with connected(here), connected(there):
        here.define(spec)
        here.start(spec.uuid)
        here.subscribe(events.put)
        try:
            yield Hosts(here, there, (first, second), address, spec.uuid, events)
        finally:
            second.signal_libvirtd(signal.SIGCONT)


@pytest.mark.core
def test_a_migration_outlives_the_agent(hosts: Hosts) -> None:
    """The daemons go on; the next agent finds it, watches it, and ends it."""
    first, second = hosts.daemons
    agent = subprocess.Popen(
        [*first.enter(), sys.executable, "-c", AGENT,
         first.uri, hosts.uuid, hosts.target, hosts.address],
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert agent.stdout is not None
    assert agent.stdout.readline() == "begun\n"
    agent.kill()
    agent.wait()

    found = hosts.here.migration(hosts.uuid)
    assert (found.phase, found.memory_total > 0) == (MigrationPhase.RUNNING, True)
    assert hosts.here.guest_at(second.uri, hosts.uuid) == GuestAt(
        PowerState.PAUSED, Migrating.ARRIVING
    )
    hosts.here.set_migration_downtime(hosts.uuid, LONG_MS)
    ended = hosts.over()
    assert (ended.phase, ended.held) == (MigrationPhase.COMPLETED, True)
    hosts.until_at(None, RUNS)
    # Who begins to look only now knows nothing of it, and where the guest is.
    later = driver_at(first.uri)
    later.connect()
    try:
        assert later.migration(hosts.uuid).phase == MigrationPhase.NONE
        assert later.guest_at(None, hosts.uuid) is None
        assert later.guest_at(second.uri, hosts.uuid) == RUNS
    finally:
        later.close()


def test_the_next_agent_can_abort(hosts: Hosts) -> None:
    """As if it had begun the migration itself."""
    hosts.begin()
    later = driver_at(hosts.daemons[0].uri)
    later.connect()
    later.abort_migration(hosts.uuid)
    later.close()
    assert hosts.over().phase == MigrationPhase.CANCELLED
    assert hosts.places() == (RUNS, None)


def test_copied_disks_are_whole(hosts: Hosts, tmp_path: Path) -> None:
    """All disks that are named, and only those."""
    content = {name: bytes([number]) * MIB for number, name in enumerate(("vda", "vdb"), 1)}
    disks = tmp_path / "disks"
    there = tmp_path / "there"
    for directory in (disks, there):
        directory.mkdir()
    for name, data in content.items():
        (disks / name).write_bytes(data)
        (there / name).write_bytes(bytes(MIB))
    hosts.daemons[1].run("mount", "--bind", str(there), str(disks))
    spec = writing_guest(tmp_path, pause=2000, disks=tuple(
        # A disk that is not copied must be one that libvirt need not fear for.
        DiskSpec(name, "virtio", str(disks / name), cache="none", readonly=name == "vdb")
        for name in content
    ))  # fmt: skip
    hosts.here.define(spec)
    hosts.here.start(spec.uuid)
    hosts.uuid = spec.uuid

    hosts.begin(disks=("vda",), bandwidth_mib_s=0)
    ended = hosts.over()

    assert (ended.phase, ended.disk_total) == (MigrationPhase.COMPLETED, MIB)
    assert hosts.places() == (None, RUNS)
    hosts.there.destroy(spec.uuid)
    assert (there / "vda").read_bytes() == content["vda"]
    assert (there / "vdb").read_bytes() == bytes(MIB)


@pytest.mark.parametrize("held", [False, True], ids=["memory", "switch-over"])
@pytest.mark.parametrize("host", [0, 1], ids=["source", "target"])
def test_a_killed_daemon_leaves_the_guest_where_it_was(hosts: Hosts, host: int, held: bool) -> None:
    """One copy that runs, none on the other host; the agent finds out which."""
    hosts.begin()
    if held:
        hosts.hold()
    hosts.daemons[host].kill_libvirtd()
    if host == 0:
        hosts.daemons[1].signal_libvirtd(signal.SIGCONT)
    hosts.daemons[host].start_libvirtd()

    hosts.until(lambda progress: not progress.active)
    hosts.until_at(RUNS, None)
    assert hosts.here.migration(hosts.uuid).held == held
    hosts.here.migrate(hosts.uuid, hosts.order())
    assert hosts.over().phase == MigrationPhase.COMPLETED


def test_a_cut_cable_leaves_the_guest_where_it_was(hosts: Hosts) -> None:
    """What the other host has of it goes when it hears of that."""
    hosts.begin()
    hosts.cut(off=True)
    try:
        ended = hosts.over()
        assert (ended.phase, ended.held) == (MigrationPhase.FAILED, False)
        assert hosts.places() == (RUNS, GuestAt(PowerState.PAUSED, Migrating.ARRIVING))
    finally:
        hosts.cut(off=False)
    hosts.until_at(RUNS, None)


def test_a_lost_answer_makes_two_copies(hosts: Hosts) -> None:
    """libvirt lets the guest go on on both hosts; ``held`` says that one must ask."""
    second = hosts.daemons[1]
    hosts.begin()
    hosts.hold()
    second.signal_libvirtd(signal.SIGSTOP)
    try:
        ended = hosts.over()
        with pytest.raises(HypervisorUnavailable):
            hosts.here.guest_at("qemu+tcp://127.0.0.1:1/system", hosts.uuid)
    finally:
        second.signal_libvirtd(signal.SIGCONT)

    assert (ended.phase, ended.held) == (MigrationPhase.FAILED, True)
    hosts.until_at(RUNS, RUNS)
    assert hosts.here.guest_at(second.uri, hosts.uuid) == RUNS


def test_what_firmware_and_tpm_remember_goes_along(hosts: Hosts, tmp_path: Path) -> None:
    """The other host has neither file, only the secret of the TPM; both are there for a start."""
    secret, phrase = str(uuid.uuid4()), b"a passphrase of its user"
    spec = tiny_guest(tmp_path, machine="q35", firmware="uefi", memory_kib=128 * 1024, disks=(),
                      tpm=("tpm-crb", "2.0"), tpm_secret=secret)  # fmt: skip
    places = [
        daemon.directory / "lib" / "qemu" / "nvram" / f"{spec.name}_VARS.fd"
        for daemon in hosts.daemons
    ]
    for driver in (hosts.here, hosts.there):
        driver.set_tpm_secret(spec.uuid, secret, phrase)
    hosts.here.define(spec)
    hosts.here.start(spec.uuid)
    hosts.here.destroy(spec.uuid)
    with places[0].open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"variable")
    hosts.here.start(spec.uuid)
    hosts.uuid = spec.uuid

    hosts.here.migrate(spec.uuid, hosts.order())

    assert hosts.over().error == ""
    assert hosts.places() == (None, RUNS)
    assert places[1].read_bytes().endswith(b"variable")
    hosts.there.destroy(spec.uuid)
    kept = hosts.daemons[1].directory / "lib" / "swtpm" / spec.uuid
    assert any(path.stat().st_size for path in kept.rglob("*permall*"))
    hosts.there.start(spec.uuid)


def test_what_firmware_remembers_does_not_stay(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt leaves the file on the host that the guest has left; the agent has it removed."""
    spec = tiny_guest(
        tmp_path, machine="q35", firmware="uefi", memory_kib=128 * 1024, disks=()
    )
    hosts.here.define(spec)
    hosts.here.start(spec.uuid)
    hosts.uuid = spec.uuid
    hosts.here.migrate(spec.uuid, hosts.order())
    assert hosts.over().error == ""

    files = []
    for driver, daemon in zip((hosts.here, hosts.there), hosts.daemons, strict=True):
        folder = daemon.directory / "lib" / "qemu" / "nvram"
        files.append(folder / f"{spec.name}_VARS.fd")
        monkeypatch.setattr(nvram, "FILES", folder)
        driver.forget_nvram(spec.uuid, spec.name)

    assert [file.exists() for file in files] == [False, True]


def test_what_is_said_of_the_server_goes_along(hosts: Hosts, tmp_path: Path) -> None:
    """And can be replaced over there, now and for the next start."""
    spec = writing_guest(tmp_path, metadata={"name": "before"})
    hosts.here.define(spec)
    hosts.here.start(spec.uuid)
    hosts.uuid = spec.uuid
    hosts.here.migrate(spec.uuid, hosts.order())
    assert hosts.over().error == ""

    assert hosts.there.definition(spec.uuid).count(">before<") == 1
    hosts.there.describe(spec.uuid, {"name": "after"})
    for text in (hosts.there.definition(spec.uuid), hosts.there.live_definition(spec.uuid)):
        assert (text.count(">after<"), text.count(">before<")) == (1, 0)


def test_it_announces_itself_once_more(hosts: Hosts, tmp_path: Path) -> None:
    """Frames with its card's address, when QEMU's own ones of the switch-over are long over."""
    mac = "52:54:00:12:34:58"
    card = NicSpec(mac=mac, plug="ethernet", target="tapannounced")
    spec = writing_guest(tmp_path, pause=2000, nics=(card,))
    hosts.here.define(spec)
    hosts.here.start(spec.uuid)
    hosts.uuid = spec.uuid
    hosts.here.migrate(spec.uuid, hosts.order())
    assert hosts.over().error == ""

    listener = subprocess.Popen(
        [*hosts.daemons[1].enter(), sys.executable, "-c", LISTENER, "tapannounced"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert listener.stdout is not None
        while listener.stdout.readline() == f"{mac}\n":
            pass
        hosts.there.announce(spec.uuid)
        for _ in range(ROUNDS):
            assert listener.stdout.readline() == f"{mac}\n"
        assert listener.stdout.readline() == "silence\n"
    finally:
        listener.kill()
        listener.wait()


def test_native_tls(hosts: Hosts, tmp_path: Path) -> None:
    """Memory goes encrypted where both hosts have certificates; without, the reason is told."""
    hosts.here.migrate(hosts.uuid, replace(hosts.order(), tls=True))
    failed = hosts.over()
    assert failed.phase == MigrationPhase.FAILED
    assert "credentials" in failed.error
    assert hosts.places() == (RUNS, None)

    certify(hosts, tmp_path)
    hosts.here.migrate(hosts.uuid, replace(hosts.order(), tls=True))
    assert hosts.over().error == ""
    assert hosts.places() == (None, RUNS)


def certify(hosts: Hosts, folder: Path) -> None:
    """Give both hosts certificates for their addresses, where libvirt looks for them."""
    authority = Authority(folder / "certificates")
    for daemon, address in zip(hosts.daemons, ("10.97.0.1", hosts.address), strict=True):
        signed = authority.sign(daemon.directory.name, address)
        for source, name in (
            (authority.file, "ca-cert.pem"),
            (signed.certificate, "server-cert.pem"),
            (signed.key, "server-key.pem"),
            (signed.certificate, "client-cert.pem"),
            (signed.key, "client-key.pem"),
        ):
            shutil.copy(source, daemon.directory / "etc" / "pki" / name)


def test_post_copy_goes_on_after_a_cut(hosts: Hosts) -> None:
    """The guest stands still, with parts on both hosts, until somebody asks again or QEMU itself
    finds its peer."""
    hosts.begin(post_copy=True)
    hosts.slow_post_copy()
    hosts.here.begin_post_copy(hosts.uuid)
    hosts.until_at(
        GuestAt(PowerState.PAUSED, Migrating.POST_COPY),
        GuestAt(PowerState.RUNNING, Migrating.POST_COPY),
    )
    with pytest.raises(HypervisorError):
        hosts.here.abort_migration(hosts.uuid)
    hosts.cut(off=True)
    try:
        broken = GuestAt(PowerState.PAUSED, Migrating.BROKEN)
        while hosts.here.guest_at(None, hosts.uuid) != broken:
            assert hosts.here.migration(hosts.uuid).phase == MigrationPhase.POST_COPY
            time.sleep(0.1)
    finally:
        hosts.cut(off=False)

    deadline = time.monotonic() + 60
    while hosts.here.migration(hosts.uuid).active:
        assert time.monotonic() < deadline, hosts.places()
        if hosts.places() == (broken, RUNS):
            return  # all of it was there when the cable was cut: whoever watches ends the rest
        with contextlib.suppress(DomainNotFound, GuestNotRunning):
            hosts.here.migrate(hosts.uuid, hosts.resumption)
        time.sleep(0.5)
    here, there = hosts.places()
    assert here in (None, GuestAt(PowerState.SHUTDOWN))
    assert there == RUNS
