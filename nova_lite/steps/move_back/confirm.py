"""Steps of the host that a server has left for good."""

from __future__ import annotations

from nova_lite.inventory.claims import Role
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import kept_disks, move_ends, moves
from nova_lite.steps.base import Step


class DiscardKept(Step):
    """Remove what was kept for a revert."""

    name = "discard_kept"

    def do(self) -> None:
        kept_disks.discard(self.work)


class RecordConfirmed(Step):
    """Record that the move is over: nothing is kept for a revert any more."""

    name = "record_confirmed"

    def do(self) -> None:
        work = self.work
        self.tools.migrations.save(
            work.context, moves.migration(work), status=move_ends.CONFIRMED
        )


class ReleaseKept(Step):
    """Release the claim of what the server had here before the move."""

    name = "release_kept"

    def do(self) -> None:
        self.tools.claims.release(self.work.uuid, Role.OUTGOING)
        self.tools.usage_changed()


class RecordSettled(Step):
    """Save the server as one that is where it is to stay, on or off as it is, in one save.

    One that is being deleted is saved, too: nova-api sees that it is not RESIZED any more.
    """

    name = "record_settled"

    def done(self) -> bool:
        self.work.reload()
        return self.work.instance.get("vm_state") != VmState.RESIZED

    def do(self) -> None:
        work = self.work
        off = work.instance.get("power_state") == PowerState.SHUTDOWN
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[None, TaskState.DELETING, TaskState.SOFT_DELETING],
            vm_state=VmState.STOPPED if off else VmState.ACTIVE,
            task_state=None,
            **move_ends.ended(work),
        )


class DropKeptAllocation(Step):
    """Give back what the migration holds in Placement: the server's old share of this host."""

    name = "drop_kept_allocation"

    def do(self) -> None:
        moves.drop_allocation(self.work)
