"""rebuild_instance with ``recreate``: this host takes over a server of a host that failed.

Disks on shared storage are used as they are, others are made from the image; volumes, ports and
addresses come along. A server that was stopped, or is to be (API 2.95), is not started.

The allocation here is the conductor's work. That of the other host goes when that host is back and
removes what it has (``remove_evacuated``), as with nova-compute.

Resume rule: forward. Roll back: every step is undone, the server stays the other host's, the
migration ``failed``. It is in ERROR then, unless it was refused before anything was touched. The
point of no return is the save that makes this host the server's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import NovaLiteError, ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import REBUILDING_TASKS, VmState
from nova_lite.operations.base import ANYWHERE
from nova_lite.operations.rebuild_request import RebuildRequest
from nova_lite.services import evacuations, guest
from nova_lite.services.notes import EvacuationNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.evacuation import (
    CheckArrival,
    ClaimEvacuated,
    DefineArrived,
    EndEvacuation,
    FetchMissingImages,
    MakeMissingConfigDrive,
    MakeMissingDisks,
    PlugArrived,
    RecordArrival,
    RecordEvacuated,
    ShutOutOthers,
    StartArrived,
    TakePorts,
    TakeVolumes,
)
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.rebuild import MarkRebuilding
from nova_lite.steps.network.ports import WaitForPorts

LOG = logging.getLogger(__name__)


class Evacuate(RebuildRequest):
    places = ANYWHERE  # the record names the other host; it finds out by itself
    between_hosts = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        # As the API sent it; the record changes while this goes on.
        before, target = work.instance.get("vm_state"), work.arguments.get("target_state")
        asked = target == VmState.STOPPED and before != VmState.ERROR
        self._ends_as = VmState.STOPPED if before == VmState.STOPPED or asked else VmState.ACTIVE

    def load(self) -> None:
        work = self.work
        self.tools.events.watch(work.uuid)
        evacuations.reload(work)
        self.take_mappings()
        kept = EvacuationNotes.of(work.notes).kept
        if not (self.past_return or kept) and guest.has_config_drive(work):
            work.require("new_pass", "injected_files")

    def plan(self) -> Plan:
        work = self.work
        rebuilding, mapping, spawning = REBUILDING_TASKS
        end: Plan = [
            NoWayBack("its record leads to this host", self.succeeded),
            (EndEvacuation(work),),
        ]
        if work.resumed and work.here:
            return end  # it is a server like any other of this host
        starts = self._ends_as == VmState.ACTIVE
        started: Plan = [(StartArrived(work),), (WaitForPorts(work),)] if starts else []
        return [
            (ClaimEvacuated(work),),
            (CheckArrival(work),),
            (RecordArrival(work),),
            (FetchMissingImages(work), TakePorts(work)),
            (ShutOutOthers(work),),
            (MarkRebuilding(work, rebuilding, mapping),),
            (TakeVolumes(work),),
            (MarkRebuilding(work, mapping, spawning),),
            (MakeMissingDisks(work), PlugArrived(work)),
            (DefineArrived(work),),
            (MakeMissingConfigDrive(work), DescribeDevices(work)),
            *started,
            (RecordEvacuated(work, self._ends_as),),
            *end,
        ]

    def audit_fields(self) -> Mapping[str, Any]:
        """The image stays what the records have."""
        return {}

    def succeeded(self) -> bool:
        """What is here by its record is not given back."""
        try:
            self.work.reload()
        except ServerNotFound:
            return False
        return self.work.here

    def failed(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        tools.events.forget(work.uuid)
        if self.past_return or work.here:
            LOG.error("Server %s is here, but its evacuation is not recorded as done: %s",
                      work.uuid, failure.message)  # fmt: skip
            return
        migration = evacuations.migration(work)
        if migration is not None:
            try:
                tools.migrations.save(work.context, migration, status="failed")
            except NovaLiteError as error:
                if failure.verdict is not Verdict.GONE:
                    raise
                LOG.info("The migration of server %s stays as it is: %s", work.uuid, error)
        tools.placement.drop_provider(work.uuid, tools.node_uuid)
        tools.usage_changed()
        if failure.verdict is Verdict.GONE:
            return
        self.tell(failure)
        touched = {"vm_state": VmState.ERROR} if self._has_begun() else {}
        self.save_failed(task_state=None, migration_context=None, **touched)

    def _has_begun(self) -> bool:
        """Whether more than a look was taken: before that nova-compute leaves the server as it was,
        too."""
        return EvacuationNotes.of(self.work.notes).kept is not None

    def abandon(self, failure: Failure) -> None:
        """As of any operation, though the record names the other host."""
        self.abandon_in(REBUILDING_TASKS, failure)
