"""Steps of the host that gets its server back."""

from __future__ import annotations

from typing import Any

from nova_lite.inventory.claims import Role
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import guest, kept_disks, move_ends, moves
from nova_lite.services.notes import GuestNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.move.arrive import RecordSwap
from nova_lite.steps.network.binding import BindPorts, cache_to_save, note_cache_saved
from nova_lite.steps.network.ports import WaitForPorts
from nova_lite.steps.records.server import moved_here, tell_host
from nova_lite.wire.decode import utcnow
from nova_lite.wire.objects import WireObject


class RevertSwap(RecordSwap):
    """Let the block device mappings say how much swap the old flavor has."""

    name = "revert_swap"

    def flavors(self) -> tuple[WireObject | None, WireObject | None]:
        new, old = super().flavors()
        return old, new


class RecordReturning(Step):
    """Save this host as the server's host, with the flavor and NUMA topology of before the move, in
    one save, which is a compare-and-swap."""

    name = "record_returning"

    def done(self) -> bool:
        self.work.reload()
        return self.work.here and self._before() is None

    def do(self) -> None:
        work, flavor = self.work, self._before()
        fields: dict[str, Any] = {}
        if flavor is not None:
            fields.update(moves.flavors(work, flavor=flavor, old_flavor=None, new_flavor=None))
            fields.update(moves.sizes(flavor))
        context = work.instance.get("migration_context")
        if context is not None:
            fields["numa_topology"] = context.get("old_numa_topology")
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_REVERTING],
            task_state=TaskState.RESIZE_REVERTING,
            **{**moved_here(work), **fields},
        )
        work.decode_again()

    def _before(self) -> WireObject | None:
        """The flavor to go back to; None where the server has it."""
        found: WireObject | None = self.work.instance.get("old_flavor")
        return found


class TakeBackResources(Step):
    """Let the server hold and claim what it had here before the move, and nothing else."""

    name = "take_back_resources"

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.placement.move_allocations(str(moves.migration(work)["uuid"]), work.uuid)
        tools.claims.restore([work.instance])
        for role in (Role.OUTGOING, Role.INCOMING):
            tools.claims.release(work.uuid, role)
        tools.usage_changed()


class RestoreKept(Step):
    """Bring back the server's files as they were, and its root disk in a cluster."""

    name = "restore_kept"

    def do(self) -> None:
        kept_disks.restore(self.work)


class BindReturned(BindPorts):
    """Bind the ports to this host, with the providers of guaranteed rates that they had here."""

    name = "bind_returned"
    keeps_cache = True  # for RecordReturned

    def providers(self) -> Any:
        work = self.work
        if not any(vif.profile.get("allocation") for vif in guest.vifs(work)):
            return None
        return self.tools.port_resources.serving(work.context, work.uuid)


class WaitForReturnedPorts(WaitForPorts):
    """As WaitForPorts, for RecordReturned."""

    name = "wait_for_returned_ports"
    notes_wired = True


class RecordReturned(Step):
    """Save the server as it was before the move, and nothing of the move."""

    name = "record_returned"

    def __init__(self, work: Work, vm_state: VmState) -> None:
        """:param vm_state: ACTIVE or STOPPED"""
        super().__init__(work)
        self._vm_state = vm_state

    def done(self) -> bool:
        self.work.reload()
        over = self.work.here and self.work.instance.get("vm_state") == self._vm_state
        if over:
            tell_host(self.work, self._vm_state)
        return over

    def do(self) -> None:
        work, registered = self.work, GuestNotes.of(self.work.notes).registered or {}
        runs = self._vm_state == VmState.ACTIVE
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_REVERTING],
            vm_state=self._vm_state,
            task_state=None,
            power_state=int(PowerState.RUNNING if runs else PowerState.SHUTDOWN),
            launched_at=utcnow(),
            **cache_to_save(work),
            **move_ends.ended(work, **registered),
        )
        note_cache_saved(work)
        tell_host(work, self._vm_state)
