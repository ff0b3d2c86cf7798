"""Steps of the host that a server has come to: what it will have, its disks, and its record."""

from __future__ import annotations

import json
import logging
from typing import Any

from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import MigrationError
from nova_lite.guest.disks import PlannedDisk
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import arrived_disks, guest, guest_state, kept_disks, moves, shares
from nova_lite.services.claiming import claim
from nova_lite.services.disk_files import CONFIG_DRIVE, KERNEL, RAMDISK, ROOT, directory
from nova_lite.services.moved_disks import SWAP
from nova_lite.services.notes import GuestNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.disk.files import MakeDisks
from nova_lite.steps.network.binding import BindPorts, cache_to_save, note_cache_saved
from nova_lite.steps.network.ports import WaitForPorts
from nova_lite.steps.records.server import tell_host
from nova_lite.wire import decode
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class TakeFlavor(Step):
    """Save the new flavor and the NUMA topology placed here: a compare-and-swap, so that the move
    is finished once. The claim is that of a server of this host from now on."""

    name = "take_flavor"

    def done(self) -> bool:
        moves.reload(self.work)
        instance = self.work.instance
        taken = instance.get("task_state") == TaskState.RESIZE_FINISH
        if taken or instance.get("vm_state") == VmState.RESIZED:
            self._claim()
            return True
        return False

    def do(self) -> None:
        work, instance = self.work, self.work.instance
        new, context = instance.get("new_flavor"), instance.get("migration_context")
        if new is None or not moves.context_is_of(work, moves.migration(work)):
            raise MigrationError(
                f"the record of server {work.uuid} lacks what it is to have on host "
                f"{self.tools.host}"
            )
        old = instance.get("old_flavor") or instance["flavor"]
        self.tools.instances.save(
            work.context,
            instance,
            expected_task_state=[TaskState.RESIZE_MIGRATED],
            task_state=TaskState.RESIZE_FINISH,
            **{**self.fields(), "numa_topology": context.get("new_numa_topology")},
            **moves.flavors(work, flavor=new, old_flavor=old),
            **moves.sizes(new),
        )
        work.decode_again()
        self._claim()

    def fields(self) -> dict[str, Any]:
        """What else is saved."""
        return {}

    def _claim(self) -> None:
        work = self.work
        self.tools.claims.arrive(work.uuid, stayed=moves.stays_here(work))
        claim(work, work.server, work.instance.get("numa_topology"), placed=True)


class RecordSwap(Step):
    """Let the block device mappings say how much swap the new flavor has."""

    name = "record_swap"

    def do(self) -> None:
        work, tools = self.work, self.tools
        old, new = self.flavors()
        if old is None or new is None or _swap(old) == _swap(new):
            return
        work.mappings = None  # an earlier attempt may have made one
        mappings = guest.mappings(work)
        found = [
            mapping
            for mapping in mappings
            if mapping.get("guest_format") == "swap" and mapping.get("device_type") == "disk"
        ]
        if not found and not _swap(old):
            mappings.append(
                tools.block_devices.create(
                    work.context, work.uuid, source_type="blank", destination_type="local",
                    device_type="disk", guest_format="swap", boot_index=-1,
                    delete_on_termination=True, volume_size=_swap(new),
                )
            )  # fmt: skip
        for mapping in found:
            if _swap(new):
                tools.block_devices.save(work.context, mapping, volume_size=_swap(new))
            else:
                tools.block_devices.destroy(work.context, mapping)
                mappings.remove(mapping)

    def flavors(self) -> tuple[WireObject | None, WireObject | None]:
        """The flavor that the mappings are made for, and the one that they are to be for."""
        return self.work.instance.get("old_flavor"), self.work.instance.get("new_flavor")


def _swap(flavor: WireObject) -> int:
    return int(flavor.get("swap") or 0)


class PrepareDisks(MakeDisks):
    """Give the disks what they are based on, the format and the sizes that they are to have here,
    and make those that did not travel: swap, and what the old flavor did not have.

    A root disk that has not come is never made anew: its data are on the other host.
    """

    name = "prepare_disks"

    def do(self) -> None:
        work, images, server = self.work, self.tools.images, self.work.server
        used = set(filter(None, (server.image.id, server.kernel_id, server.ramdisk_id)))
        self.make_directory()
        with images.held(*map(images.path, used)):
            for disk in guest.disk_plan(work).local:
                if disk.name != CONFIG_DRIVE:
                    self._prepare(disk)
            self._boot_files()

    def _prepare(self, disk: PlannedDisk) -> None:
        work, disks, where = self.work, self.tools.disks, directory(self.work)
        name = str(disk.name)
        if not disks.exists(where, name):
            if name == ROOT or name in self._told():
                raise arrived_disks.missing(work, name)
            empty = LocalDisk(name, disk.size_bytes, fs=disk.fs, label=disk.label)
            disks.create(where, empty)
            return
        if name == ROOT:
            kept_disks.keep_state(work)
        if not disks.shared:
            arrived_disks.fetch_base(work, name)
            arrived_disks.store_as_usual(work, name)
        if disk.size_bytes:
            disks.grow(where, name, disk.size_bytes)

    def _told(self) -> set[str]:
        """The disks that the other host has sent."""
        told = json.loads(self.work.arguments["disk_info"] or "[]")
        names = {str(disk["path"]).rpartition("/")[2] for disk in told}
        return names - {SWAP}

    def _boot_files(self) -> None:
        server, disks, images = self.work.server, self.tools.disks, self.tools.images
        where = directory(self.work)
        for name, image_id in ((KERNEL, server.kernel_id), (RAMDISK, server.ramdisk_id)):
            if image_id and not disks.exists(where, name):
                disks.create(where, LocalDisk(name, 0, images.fetch_as_is(
                    self.work.context, image_id)))  # fmt: skip

    def undo(self) -> None:
        """They are the server's only disks here, and stay."""


class TakeInTpm(Step):
    """Give the guest the TPM that came along."""

    name = "take_in_tpm"

    def do(self) -> None:
        guest_state.take_in_tpm(self.work)


class RestoreNvram(Step):
    """Give the guest's firmware what it has remembered on the other host."""

    name = "restore_nvram"

    def do(self) -> None:
        guest_state.restore_nvram(self.work)


class GrantShares(Step):
    """Create Manila's access rules for this host."""

    name = "grant_shares"

    def do(self) -> None:
        for mapping in shares.mappings(self.work):
            share = shares.share_of(self.work, mapping)
            with self.tools.shares.guard(share.id):
                shares.grant(self.work, share)


class BindMovedPorts(BindPorts):
    """Bind the ports to this host; RecordResized saves the network cache."""

    name = "bind_moved_ports"
    keeps_cache = True


class WaitForMovedPorts(WaitForPorts):
    """As WaitForPorts, but the guest, which ran before, goes on in any case: stock waits for
    none."""

    name = "wait_for_moved_ports"
    notes_wired = True

    def _give_up(self, missing: set[str]) -> None:
        LOG.warning("Server %s goes on though port %s is not wired up", self.work.uuid,
                    ", ".join(sorted(missing)))  # fmt: skip


class SyncTime(Step):
    """Have the guest's clock set, which has stood still."""

    name = "sync_time"

    def do(self) -> None:
        self.tools.hypervisor.sync_time(self.work.uuid)


class RecordResized(Step):
    """Save that the move waits for its user: migration finished, server RESIZED.

    :param runs: whether its guest was started
    """

    name = "record_resized"

    def __init__(self, work: Work, *, runs: bool) -> None:
        super().__init__(work)
        self._runs = runs

    def done(self) -> bool:
        moves.reload(self.work)
        resized = self.work.instance.get("vm_state") == VmState.RESIZED
        if resized:
            tell_host(self.work, VmState.RESIZED)
        return resized

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.migrations.save(work.context, moves.migration(work), status="finished")
        fields: dict[str, Any] = {}
        registered = GuestNotes.of(work.notes).registered or {}
        kept = dict(work.instance.get("system_metadata", {}))
        if registered.items() - kept.items():
            fields["system_metadata"] = {**kept, **registered}
        fields.update(cache_to_save(work))
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_FINISH],
            vm_state=VmState.RESIZED,
            task_state=None,
            power_state=int(PowerState.RUNNING if self._runs else PowerState.SHUTDOWN),
            launched_at=decode.utcnow(),
            **fields,
        )
        note_cache_saved(work)
        tell_host(work, VmState.RESIZED)
