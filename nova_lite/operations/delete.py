"""terminate_instance: nothing of the server is left, on this host or in the books.

Resume rule: forward, always; a delete has no way back. A step that cannot finish leaves the server
in ERROR with a fault and its action failed, so that the user can delete it again.
"""

from __future__ import annotations

import contextlib
import logging

from nova_lite.errors import ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import VmState
from nova_lite.operations.base import Operation
from nova_lite.steps import guest
from nova_lite.steps.base import Plan
from nova_lite.steps.capacity import ReleaseResources
from nova_lite.steps.domain import RemoveGuest
from nova_lite.steps.network import ReleasePorts, UnplugInterfaces, adopt_taps
from nova_lite.steps.records import ForgetRecords, ForgetServer, RecordDeleted
from nova_lite.steps.storage import RemoveDisks

LOG = logging.getLogger(__name__)


class Delete(Operation):
    event = "compute_terminate_instance"
    requires = ("bdms",)
    notifies = "delete"
    urgent = True

    def load(self) -> None:
        self.tools.events.forget(self.work.uuid)
        if "flavor" not in self.work.instance or not guest.vifs(self.work):
            # A forced delete comes with less, and the API may have read the server before its boot
            # recorded the ports.
            with contextlib.suppress(ServerNotFound):
                self.work.reload()
        if not guest.vifs(self.work):
            adopt_taps(self.work)

    def plan(self) -> Plan:
        work = self.work
        return [
            (RemoveGuest(work), ReleasePorts(work), ForgetRecords(work)),
            (UnplugInterfaces(work), RemoveDisks(work)),
            (RecordDeleted(work),),
            (ReleaseResources(work),),
            (ForgetServer(work),),
        ]

    def failed(self, failure: Failure) -> None:
        if failure.verdict == Verdict.GONE.value:
            return
        tools, work = self.tools, self.work
        tools.actions.fault(work.context, work.uuid, failure)
        tools.instances.save(
            work.context, work.instance, vm_state=VmState.ERROR, task_state=None
        )
