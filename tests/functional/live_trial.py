"""A trial whose guest goes from host1 to host2 while it runs.

Both have the same directory for servers, as hosts between which one is to go must, and their
libvirtds reach each other. The test takes the conductor's and the broker's part.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

import libvirt

from nova_lite.services import migrate_data
from nova_lite.wire.objects import WireObject, unwrap
from tests.functional.exchange import Exchange, heard
from tests.functional.messages import BUSY, IMAGE, MIB
from tests.functional.trial import Trial

REQUEST = "req-live"  # of all messages of one migration
CHECK = "check_can_live_migrate_destination"
LIVE = "live_migration"
PATIENCE_S = 60
WRITTEN = 0x10000  # an address that the program BUSY writes to at each tick of its clock
MIGRATION = {
    "id": 7, "uuid": "cccccccc-2222-3333-4444-666666666666", "status": "accepted",
    "migration_type": "live-migration", "source_compute": "host1", "source_node": "host1",
    "dest_compute": "host2", "dest_node": "host2", "dest_host": None, "dest_compute_id": None,
    "old_instance_type_id": 1, "new_instance_type_id": 1, "memory_total": None,
    "memory_processed": None, "memory_remaining": None, "disk_total": None,
    "disk_processed": None, "disk_remaining": None, "deleted": False,
}  # fmt: skip


@dataclass(frozen=True)
class Upset:
    """What happens to the host that is called.

    :param kill: boundary at which its agent is killed; the next one goes on with what is left
    :param power: whether its power fails there
    :param lost: whether only its answer is lost
    :param record: file for the boundaries that it passes
    :param lossy: whether the first answers that it gets are lost
    """

    kill: str | None = None
    power: bool = False
    lost: bool = False
    record: str | None = None
    lossy: bool = False


class LiveTrial(Trial):
    """``upsets``: method -> what happens to the host when it is called the next time."""

    def __init__(self, lab, number, hosts, polite) -> None:
        super().__init__(lab, number, hosts, polite)
        lab.link(*hosts)
        self.upsets: dict[str, Upset] = {}
        self.checks = 0
        self.request = None  # what the conductor casts
        # Held as long as an agent of that host carries out a call: the next one waits.
        self._called = {name: threading.Lock() for name in hosts}
        self.images.add(IMAGE, BUSY.ljust(MIB, b"\0"))
        for host in self.hosts.values():
            host.configure("live_migration_wait_for_vif_plug = false", "compute")
        self.exchange = Exchange(lab.directory / f"x{number}", self._carry_out)

    def home(self, name):
        return self.directory / "here"

    def stop(self):
        self.clear()
        self.exchange.close()

    def restore(self):
        self.await_calls()
        super().restore()
        self.upsets = {}
        self.exchange.wrong.clear()
        self.lab.log.write_text("")

    def delivered(self, host, *messages, **order):
        """Run an agent that can call other hosts, see ``Host.run``."""
        ended = self.hosts[host].run(*messages, exchange=self.exchange.path, **order)
        assert not self.exchange.wrong, self.exchange.wrong
        return ended

    def await_calls(self):
        """Until nobody is at work for somebody who was killed."""
        for lock in self._called.values():
            with lock:
                pass

    def call(self, host, message):
        """The answer of a host."""
        return heard(self._carry_out(host, message), host, message["method"])

    def _carry_out(self, host, message):
        with self._called[host]:
            return self._carry_out_alone(host, message)

    def _carry_out_alone(self, host, message):
        method = message["method"]
        upset = self.upsets.pop(method, Upset())
        answer = self.directory / f"{method}.answer"
        answer.unlink(missing_ok=True)
        ended = self.delivered(
            host, message, answer=str(answer), kill=upset.kill, durable=upset.power,
            record=upset.record, lose_replies=upset.lossy,
        )  # fmt: skip
        assert ended == (upset.kill is None), f"{method} did not come to {upset.kill}"
        if upset.power:
            self.lose_power(host)
        if not ended:
            self.delivered(host, joins=upset.power)
        return answer.read_text() if ended and not upset.lost else None

    def lose_power(self, name):
        """See ``Host.lose_power``; the other host notices it, for nobody says goodbye."""
        host = self.hosts[name]
        host.daemon.lose_power()
        host.sync_disks()
        host.lose_power()

    def cut(self, *, off):
        """The cable between the hosts."""
        daemon = self.hosts["host2"].daemon
        daemon.run("ip", "link", "set", f"nvl{daemon.directory.name[:5]}b", "down" if off else "up")

    # --- the conductor ----------------------------------------------------------------------
    def get_ready(self):
        """Ask for the move and have it checked: what ``restore`` comes back to."""
        self.ask_for_move()
        self.request = self.live_message(self.check())
        self.keep()

    def ask_for_move(self):
        """What nova-api and the conductor have done when they ask the hosts."""
        kept = self.conductor.instance(self.server)
        self.set(
            task_state="migrating", progress=0, compute_id=1, old_flavor=None, new_flavor=None,
            numa_topology=kept.get("numa_topology"), migration_context=None,
            system_metadata={**kept["system_metadata"], "image_disk_format": "raw"},
        )  # fmt: skip
        row = {**MIGRATION, "instance_uuid": self.server}
        with self.conductor.database() as tables:
            tables["Migration"] = {"7": row}
            tables["ComputeNode"] = {
                str(number): {
                    "id": number, "host": name, "hypervisor_hostname": name, "deleted": False,
                }
                for number, name in enumerate(self.hosts, 1)
            }  # fmt: skip
        with self.ledger.open() as content:
            content["allocations"] = {
                self.server: {"host2": {"VCPU": 1}}, row["uuid"]: {"host1": {"VCPU": 1}}
            }  # fmt: skip
        self.forget_events()

    def check(self):
        """What the hosts say whether it can go, with the bindings of the ports to the other one."""
        arguments = {"block_migration": None, "disk_over_commit": None, "limits": None}
        message = self._message(CHECK, migration=self._migration(), **arguments)
        self.checks += 1
        message["request_id"] += f"-{self.checks}"
        data = self.call("host2", message)
        with self.ledger.open() as content:
            for vif in data["vifs"]:
                vif.set(vif_type="ovs", vnic_type="normal", vif_details_json="{}",
                        profile_json="{}")  # fmt: skip
                content.setdefault("beside", {})[vif["port_id"]] = ["host2"]
        return data

    def live_message(self, data):
        """What the conductor casts then."""
        return self._message(
            LIVE, dest="host2", migration=self._migration(), migrate_data=unwrap(data),
            block_migration=migrate_data.copies_disks(data),
        )  # fmt: skip

    def _migration(self):
        found = WireObject.new("Migration", "1.8", **self.migration())
        found.clear_changes()
        return unwrap(found)

    def _message(self, method, **arguments):
        return {**self.message(method, **arguments), "request_id": REQUEST}

    def deliver_casts(self):
        """What the hosts have cast to each other since."""
        with self.ledger.open() as content:
            sent, content["sent"] = content.get("sent", []), []
        for host, method, arguments in sent:
            self._carry_out(host, {"method": method, "request_id": REQUEST, "args": arguments})

    # --- meanwhile --------------------------------------------------------------------------
    def begin(self, message, **order):
        """host1 goes on with it in the background: the future is what ``Host.run`` returns."""
        ended: Future[bool] = Future()

        def run():
            try:
                ended.set_result(self.delivered("host1", message, **order))
            except BaseException as error:
                ended.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return ended

    def kill(self, boundary, **order):
        """Let host1 go on with the migration until its agent is killed.

        How often some things are done depends on who is faster: the agent may have ended without
        that boundary.
        """
        record = self.lab.directory / "killed"
        record.unlink(missing_ok=True)
        if self.delivered("host1", self.request, kill=boundary, record=str(record), **order):
            assert boundary not in record.read_text().splitlines()

    def await_pause(self, ended, name):
        """Until host1 is where it is to wait; False: it has ended without that."""
        deadline = time.monotonic() + PATIENCE_S
        while not (self.host.state / f"{name}.reached").exists():
            if ended.done():
                return False
            assert time.monotonic() < deadline, self.lab.said()
            time.sleep(0.02)
        return True

    def go_on(self, name):
        (self.host.state / f"{name}.go").touch()

    def await_writing(self):
        """Until the guest writes to its memory: before that it would arrive at once."""
        flags = libvirt.VIR_MEMORY_PHYSICAL
        self._until(lambda domain: any(domain.memoryPeek(WRITTEN, 1, flags)))

    def await_copy(self, ended):
        """Until memory is on its way."""

        def copies(domain):
            assert not ended.done(), self.lab.said()
            return domain.jobStats().get("memory_processed")

        self._until(copies)

    def _until(self, condition):
        """Until that is so of the guest on host1."""
        connection = libvirt.open(self.hosts["host1"].daemon.uri)
        deadline = time.monotonic() + PATIENCE_S
        try:
            domain = connection.lookupByUUIDString(self.server)
            while not condition(domain):
                assert time.monotonic() < deadline, self.lab.said()
                time.sleep(0.02)
        finally:
            connection.close()

    # --- the disk ---------------------------------------------------------------------------
    def mark_disk(self):
        """Write to the disk of the guest on host1, which is started anew, what is in no image."""
        machine, disk = self.host.daemon, self._disk("host1")
        machine.run("virsh", "-q", "destroy", self.server)
        machine.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 512k 64k", str(disk))
        machine.run("virsh", "-q", "start", self.server)
        self.host.wait_for_guest()

    def disk_is_whole(self, host):
        """Whether the disk on a host is as it was at ``keep``."""
        kept = self._files() / "host1" / self._disk("host1").relative_to(self.home("host1"))
        found = self.hosts[host].daemon.run(
            "qemu-img", "compare", "-U", "-f", "qcow2", "-F", "qcow2", str(kept),
            str(self._disk(host)), check=False,
        )  # fmt: skip
        assert found.returncode in (0, 1), found.stderr
        return found.returncode == 0

    def _disk(self, host):
        return self.home(host) / "instances" / self.server / "disk"

    # --- looking ----------------------------------------------------------------------------
    def migration(self):
        return self.conductor.read()["Migration"]["7"]

    def boots(self, host):
        """How often the guest has booted on a host, as it tells itself."""
        path = self.hosts[host].state / "instances" / self.server / "console.log"
        return path.read_bytes().count(b"R") if path.exists() else 0

    def attachments(self):
        """Hosts of Cinder's attachments, and of the one that the server's record names."""
        rows = self.ledger.read()["cinder"]["attachments"]
        mapping = self.conductor.read()["BlockDeviceMapping"]["2"]
        named = rows.get(mapping["attachment_id"], {})
        return sorted(row["connector"]["host"] for row in rows.values()), named["connector"]["host"]

    def bindings(self):
        """Hosts of the ports' active bindings, of the others, and where they are said to go."""
        content = self.ledger.read()
        beside = {host for hosts in content.get("beside", {}).values() for host in hosts}
        return (
            sorted(set(content["bound"].values())), sorted(beside),
            sorted(content.get("migrating_to", {}).values()),
        )  # fmt: skip
