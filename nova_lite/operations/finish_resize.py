"""finish_resize: a server has come to this host, or has stayed and gets another flavor.

Its record leads here. Disks are grown to the flavor's sizes, volumes and ports attached, the guest
is defined, and started if it ran before. Then it waits, RESIZED, for its user to confirm or revert;
the other host keeps what it had.

Resume rule: forward. A failure leaves the server here in ERROR, as with nova-compute: a hard reboot
may bring it up. What is kept on the other host is not touched.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import MoveSuperseded
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
from nova_lite.operations.move import DELETED, MoveStage
from nova_lite.services import moves, shares
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices, to_activate
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.move.arrive import (
    BindMovedPorts,
    GrantShares,
    PrepareDisks,
    RecordResized,
    RecordSwap,
    RestoreNvram,
    SyncTime,
    TakeFlavor,
    TakeInTpm,
    WaitForMovedPorts,
)
from nova_lite.steps.network.binding import save_cache
from nova_lite.steps.network.ports import PlugInterfaces
from nova_lite.steps.shares import MountShares
from nova_lite.steps.volume.moves import AttachReservedVolumes
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class FinishResize(MoveStage):
    event = "compute_finish_resize"
    requires = {
        "migration": WireObject,
        "image": object,
        "disk_info": object,
        "request_spec": object,
    }
    notifies = "resize_finish"
    milestone = TakeFlavor
    own_tasks = (TaskState.RESIZE_MIGRATED, TaskState.RESIZE_FINISH)

    def load(self) -> None:
        """The message has not all that a guest is made from."""
        work = self.work
        self.tools.events.watch(work.uuid)
        moves.reload(work)
        if not (work.here and moves.comes_here(work) and moves.has_left(work)):
            raise MoveSuperseded(
                f"Server {work.uuid} does not wait on host {self.tools.host} for the end of "
                f"migration {self.migration['uuid']}"
            )

    def plan(self) -> Plan:
        work = self.work
        if work.resumed and work.instance.get("vm_state") == VmState.RESIZED:
            return [(RecordResized(work, runs=moves.ran_before(work)),)]
        runs = moves.ran_before(work)
        start: Plan = [
            (StartGuest(work),),
            (WaitForMovedPorts(work),),
            (SyncTime(work), *to_activate(work)),
        ]
        mounts: Plan = [(GrantShares(work),), (MountShares(work),)]
        return [
            (TakeFlavor(work),),
            (RecordSwap(work),),
            (BindMovedPorts(work), AttachReservedVolumes(work)),
            (PrepareDisks(work), PlugInterfaces(work)),
            (TakeInTpm(work),),
            *(mounts if shares.possible(work) else ()),
            (DefineGuest(work),),
            (RestoreNvram(work),),
            (RestoreConfigDrive(work), DescribeDevices(work)),
            *(start if runs else ()),
            (RecordResized(work, runs=runs),),
        ]

    # --- how it ends ------------------------------------------------------------------------
    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if self.is_stale(failure):
            LOG.info("Migration %s of server %s is not to be finished here: %s",
                     self.migration["uuid"], work.uuid, failure.message)  # fmt: skip
            return
        self.let_go()  # the server is this host's, and what it needs here it holds
        self.end_migration()
        tools.usage_changed()
        if failure.nova_name in DELETED:
            return
        self.tell(failure)
        self.save_failed(vm_state=VmState.ERROR, task_state=None, **self._old_flavor())
        save_cache(work)

    def _old_flavor(self) -> dict[str, Any]:
        """As in stock the server has its old flavor again, with which it may start; not where its
        place on NUMA nodes is that of the new one."""
        instance = self.work.instance
        old = instance.get("old_flavor")
        if old is None or instance.get("numa_topology") is not None:
            return {}
        return {**moves.flavors(self.work, flavor=old), **moves.sizes(old)}
