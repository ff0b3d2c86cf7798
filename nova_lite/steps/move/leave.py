"""Steps of the host that a server leaves: power off, let go, and hand it to the other host.

Nothing is removed: the guest stays defined, its files are kept, until the move is confirmed. So
everything up to the save that makes the other host the server's can be taken back.
"""

from __future__ import annotations

import logging

from nova_lite.errors import HypervisorError
from nova_lite.inventory.claims import Role
from nova_lite.model.states import NOT_ON, TaskState, VmState
from nova_lite.services import guest, kept_disks, moves, tpm
from nova_lite.services.abandoned import is_unfinished
from nova_lite.services.disk_files import directory
from nova_lite.services.interfaces import plug
from nova_lite.services.moved_disks import remote_of, require_movable
from nova_lite.services.notes import MoveNotes
from nova_lite.services.power_state import power_state
from nova_lite.services.shared_storage import shared_over
from nova_lite.services.volumes import ensure_attached, volume_mappings
from nova_lite.steps.base import Step
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.shares import MountShares, UnmountShares
from nova_lite.steps.volume.moves import ReserveVolumes
from nova_lite.wire import decode

LOG = logging.getLogger(__name__)


class CheckLeaving(Step):
    """Refuse a server that cannot leave, or cannot have its new flavor, before it is touched."""

    name = "check_leaving"

    def done(self) -> bool:
        """What has begun was checked; by now its files may have another name."""
        return moves.has_begun(self.work)

    def do(self) -> None:
        work = self.work
        guest.require_definable(work)
        flavor = decode.flavor(work.arguments["flavor"])
        moves.refuse_shrinking(work, flavor)
        require_movable(work)


class MarkMigrating(Step):
    """Save that the move is on: a compare-and-swap, so that it is begun once."""

    name = "mark_migrating"

    def done(self) -> bool:
        """By now it may be another host's: see RecordLeft."""
        return moves.has_begun(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_PREP],
            task_state=TaskState.RESIZE_MIGRATING,
        )
        tools.migrations.save(work.context, moves.migration(work), status="migrating")


class ReachTarget(Step):
    """Find out whether the other host has the server's files anyway; make their directory there if
    it has not. Done while the guest still runs, for a host may not be let in."""

    name = "reach_target"

    def done(self) -> bool:
        return MoveNotes.of(self.work.notes).files_shared is not None

    def do(self) -> None:
        work = self.work
        if moves.stays_here(work) or self.tools.disks.shared:
            work.note(files_shared=True)
            return
        remote, where = remote_of(work), directory(work)
        shared = where.exists() and shared_over(work, remote)
        if not shared:
            remote.make_directory(str(where))
        work.note(files_shared=shared)

    def undo(self) -> None:
        """A host that is out of reach finds the directory itself: see ``remove_partial``. One that
        has taken over the server has its disks there."""
        work = self.work
        if MoveNotes.of(work.notes).files_shared is False and not moves.is_taken_over(work):
            remote_of(work).remove(str(directory(work)))


class PowerOffForMove(PowerOff):
    """Power the guest off; the undo starts it again if it ran."""

    name = "power_off_for_move"

    def do(self) -> None:
        work = self.work
        if MoveNotes.of(work.notes).was_on is None:
            state = power_state(self.tools.hypervisor, work.uuid)
            work.note(was_on=state not in NOT_ON)
        super().do()

    def undo(self) -> None:
        work, tools = self.work, self.tools
        runs = work.instance.get("vm_state") == VmState.ACTIVE
        if MoveNotes.of(work.notes).was_on and runs and moves.is_to_stay(work):
            plug(work)  # what libvirt made of the interfaces went with the guest
            with tpm.unlocked(work):
                tools.hypervisor.start(work.uuid)


class UnplugForMove(UnplugInterfaces):
    """Unplug the interfaces; the undo plugs them again."""

    def undo(self) -> None:
        if self.work.here:
            plug(self.work)


class UnmountForMove(UnmountShares):
    """Unmount the shares; the undo mounts them again."""

    def undo(self) -> None:
        if self.work.here:
            MountShares(self.work).do()


class KeepFiles(Step):
    """Keep the server's files under another name."""

    name = "keep_files"

    def do(self) -> None:
        kept_disks.keep(self.work)

    def undo(self) -> None:
        kept_disks.take_back(self.work)


class ReserveForMove(ReserveVolumes):
    """Disconnect the volumes and reserve them for the server; the undo attaches them again."""

    exclusive = True

    def undo(self) -> None:
        work = self.work
        if not moves.is_to_stay(work):
            return
        work.mappings = None
        for mapping in volume_mappings(work):
            if not is_unfinished(mapping):
                ensure_attached(work, mapping)


class RecordLeft(Step):
    """Save the other host as the server's: in one save, which is a compare-and-swap."""

    name = "record_left"

    def done(self) -> bool:
        moves.reload(self.work)
        return moves.has_left(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        record = moves.migration(work)
        if tools.hypervisor.defined(work.uuid):
            state = tools.hypervisor.power_state(work.uuid)
            if state not in NOT_ON:
                raise HypervisorError(f"the guest of server {work.uuid} runs; it cannot leave")
        tools.migrations.save(work.context, record, status="post-migrating")
        fields = moves.flavors(work, old_flavor=work.instance["flavor"])
        if work.instance.get("progress"):
            fields["progress"] = 0
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_MIGRATING],
            task_state=TaskState.RESIZE_MIGRATED,
            host=record["dest_compute"],
            node=record["dest_node"],
            compute_id=record["dest_compute_id"],
            **fields,
        )


class ReleaseToTarget(Step):
    """What the server has used here is kept for its way back."""

    name = "release_to_target"

    def do(self) -> None:
        work, tools = self.work, self.tools
        if not moves.stays_here(work):
            tools.claims.turn(work.uuid, Role.CURRENT, Role.OUTGOING)
        tools.usage_changed()


class AskTarget(Step):
    """Ask the other host to go on; a second message has no effect there."""

    name = "ask_target"

    def done(self) -> bool:
        moves.reload(self.work)
        return bool(self.work.instance.get("task_state") != TaskState.RESIZE_MIGRATED)

    def do(self) -> None:
        work, arguments = self.work, self.work.arguments
        record = moves.migration(work)
        self.tools.peers.cast(
            work.context,
            str(record["dest_compute"]),
            "finish_resize",
            instance=work.instance,
            migration=record,
            image=arguments["image"],
            disk_info=MoveNotes.of(work.notes).disk_info or "[]",
            request_spec=arguments["request_spec"],
        )
