"""Steps that find out whether a running server can go from one host to another."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nova_lite.errors import LiveMigrationRefused, ResourcesUnavailable
from nova_lite.guest import cpu
from nova_lite.guest.properties import Properties
from nova_lite.inventory import disk, numa
from nova_lite.inventory.claims import Role
from nova_lite.model.states import TaskState
from nova_lite.services import guest, live_checks, live_tpm, migrate_data, moves, tpm
from nova_lite.services.claiming import claim_and_note
from nova_lite.services.groups import check_group_of_server
from nova_lite.services.notes import GuestNotes
from nova_lite.services.shared_storage import is_shown, shown
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Checked:
    """What the hosts have told each other so far; only in memory, for a caller that waits."""

    def __init__(self) -> None:
        self.data: WireObject | None = None


class CheckTarget(Step):
    """Refuse what cannot come here, before the other host is asked."""

    name = "check_target"

    def do(self) -> None:
        work = self.work
        with live_checks.refusing(work):
            check_group_of_server(work)
            live_checks.refuse_here(work, source_of(work))
            live_checks.refuse_cpu(work, source_of(work))


class AskAboutLeaving(Step):
    """Ask the host that has the server, which looks for a file of this one to see whether both have
    the same storage. The file goes in any case."""

    name = "ask_about_leaving"

    def __init__(self, work: Work, checked: Checked) -> None:
        super().__init__(work)
        self._checked = checked

    def do(self) -> None:
        work, source = self.work, source_of(self.work)
        where = Path(self.tools.conf.instances_path)
        with live_checks.refusing(work):
            where.mkdir(parents=True, exist_ok=True)
            with shown(where) as name:
                found = self.tools.peers.call(
                    work.context,
                    source,
                    "check_can_live_migrate_source",
                    instance=work.instance,
                    dest_check_data=self._offer(name),
                )
            self._checked.data = data = migrate_data.read(found)
            live_checks.refuse_directory(work, data)
        if "vifs" not in data:
            data.set(vifs=migrate_data.skeleton(guest.vifs(work)))
        data.set(pci_dev_map_src_dst={})

    def _offer(self, filename: str) -> WireObject:
        """What this host is, for the other one to compare."""
        work, conf = self.work, self.tools.conf
        asked = {
            name: work.arguments.get(name)
            for name in ("block_migration", "disk_over_commit")
            if work.arguments.get(name) is not None
        }
        if work.instance.get("numa_topology") is not None:
            asked["dst_supports_numa_live_migration"] = True
        return migrate_data.new(
            tpm=tpm.wanted(work),
            filename=filename,
            image_type=conf.libvirt.images_type,
            disk_available_mb=self._room(over_commit=bool(asked.get("disk_over_commit"))),
            graphics_listen_addr_vnc=str(conf.vnc.server_listen),
            graphics_listen_addr_spice=str(conf.spice.server_listen),
            serial_listen_addr=self._serial_address(),
            dst_wants_file_backed_memory=self.tools.policy.file_backed_memory_mb > 0,
            dst_cpu_shared_set_info=sorted(self.tools.policy.cpu_shared_set or ()),
            vifs=migrate_data.skeleton(guest.vifs(work)),
            **asked,
        )

    def _serial_address(self) -> str | None:
        conf = self.tools.conf.serial_console
        return str(conf.proxyclient_address) if conf.enabled else None

    def _room(self, *, over_commit: bool) -> int:
        """MiB that local disks of the server may take here."""
        conf, room = self.tools.conf, self.tools.disks.room()
        space = disk.shared(*room) if room else disk.look(conf.instances_path)
        free = space.free_gb if over_commit else space.available_least_gb
        return int(free * 1024 - conf.reserved_host_disk_mb)


class ClaimPlace(Step):
    """Claim a place on the NUMA nodes of this host, for a server that has one on the other, and
    tell that host where its vCPUs and memory are to be. As in stock no other server claims now."""

    name = "claim_place"

    def __init__(self, work: Work, checked: Checked) -> None:
        super().__init__(work)
        self._checked = checked

    def do(self) -> None:
        work, data = self.work, self._checked.data
        wanted, migration = work.instance.get("numa_topology"), work.arguments.get("migration")
        if wanted is None or data is None or migration is None:
            return
        if not data.get("src_supports_numa_live_migration"):
            raise LiveMigrationRefused(
                f"the host that has server {work.uuid} does not tell that it can move it to other "
                "NUMA nodes"
            )
        limits = work.arguments.get("limits") or {}
        with live_checks.refusing(work):
            self.tools.claims.release(work.uuid, Role.INCOMING)  # of an attempt that is over
            claim_and_note(
                work, work.server, wanted, limits=limits.get("numa_topology"), role=Role.INCOMING
            )
            migrate_data.write_pins(data, pins(work))
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.MIGRATING],
            migration_context=moves.context_of(work, migration),
        )

    def undo(self) -> None:
        work, migration = self.work, self.work.arguments.get("migration")
        if GuestNotes.of(work.notes).numa_topology is None or migration is None:
            return
        self.tools.claims.release(work.uuid, Role.INCOMING)
        work.reload()
        if moves.context_is_of(work, migration):
            self.tools.instances.save(work.context, work.instance, migration_context=None)


class CheckSource(Step):
    """Refuse what cannot leave, and tell which storage the hosts share; nothing is changed."""

    name = "check_source"

    def __init__(self, work: Work, checked: Checked) -> None:
        super().__init__(work)
        self._checked = checked

    def do(self) -> None:
        self._checked.data = leave(self.work)


def leave(work: Work) -> WireObject:
    """The other host's object, with what this one knows.

    :raises LiveMigrationRefused: the server cannot leave this host
    """
    data = migrate_data.read(work.arguments["dest_check_data"])
    with live_checks.refusing(work):
        if live_checks.needs_reading(work):
            work.reload()
        live_checks.refuse_leaving(work)
        same = is_shown(Path(work.tools.conf.instances_path), data.get("filename"))
        live_checks.decide_storage(work, data, same_directory=same)
        live_tpm.hand_over(work, data)
    if work.instance.get("numa_topology") is not None and data.get(
        "dst_supports_numa_live_migration"
    ):
        data.set(src_supports_numa_live_migration=True)
    return data


def source_of(work: Work) -> str:
    """The host that has the server.

    :raises LiveMigrationRefused: it has none
    """
    host: Any = work.instance.get("host")
    if not host:
        raise LiveMigrationRefused(f"server {work.uuid} is on no host")
    return str(host)


def pins(work: Work) -> migrate_data.Pins:
    """Where this host wants the guest, by what was claimed.

    :raises ResourcesUnavailable: nothing was
    """
    topology = GuestNotes.of(work.notes).numa_topology
    if topology is None:
        raise ResourcesUnavailable(f"server {work.uuid} has no place on the host's NUMA nodes")
    tools, server = work.tools, work.server
    # What power management has switched off has no siblings that could be told.
    tools.hypervisor.wake_cpus()
    placed = numa.guest_numa(topology, tools.facts)
    tune = cpu.plan_tuning(
        Properties(server), server.flavor, tools.policy, tools.capabilities, placed
    )
    return migrate_data.Pins(
        cpus=tune.pins,
        nodes={cell.id: frozenset({cell.host_node}) for cell in placed.cells
               if cell.host_node is not None},
        emulator=tune.emulator_pin,
        scheduled=tune.realtime,
        priority=tune.realtime_priority if tune.realtime else None,
    )  # fmt: skip
