"""confirm_resize: the server stays where it went; remove what this host has kept of it.

nova-api casts it, or calls it before it deletes a resized server; a destination casts it when
[DEFAULT]resize_confirm_window is over. A move on one host leaves the guest alone: there only the
old files and the old claim go.

Resume rule: forward; each step leaves less of the server here. Once the migration is recorded as
confirmed nothing of the host is touched: by then another move may keep something under the same
names. What fails before that leaves the server RESIZED with a fault: it can be confirmed again.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.move import Move
from nova_lite.services import move_ends, shares
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.evacuated import ReleaseOwnShares
from nova_lite.steps.guest.devices import to_settle_key
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.move_back.confirm import (
    DiscardKept,
    DropKeptAllocation,
    RecordConfirmed,
    RecordSettled,
    ReleaseKept,
)
from nova_lite.steps.network.ports import UnplugInterfaces

LOG = logging.getLogger(__name__)


class ConfirmResize(Move):
    event = "compute_confirm_resize"
    answers = True
    notifies = "resize_confirm"
    notifies_mappings = False
    # The server runs on the other host.
    last_resort = {"task_state": None}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._status: str | None = None
        self._deleted = False

    def load(self) -> None:
        work = self.work
        self._status = move_ends.status(work)
        try:
            self._deleted = not move_ends.look(work)
        except ServerNotFound:
            LOG.info("Server %s is gone, and nothing says what this host has kept", work.uuid)
            self._status = None
            return
        if self._keeps_something() and not work.here:
            remember_own_side(work)

    def _keeps_something(self) -> bool:
        return self._deleted or self._status in move_ends.CONFIRMABLE

    def plan(self) -> Plan:
        work = self.work
        if self._deleted:
            return [*cleaning(work), (ReleaseKept(work),), (DropKeptAllocation(work),)]
        rest: Plan = [
            (RecordConfirmed(work),),
            (ReleaseKept(work),),
            (RecordSettled(work),),
            (DropKeptAllocation(work),),
        ]
        if self._status == move_ends.CONFIRMED and work.resumed:
            return rest
        if self._keeps_something():
            lost = to_settle_key(work, "old_flavor", "flavor")
            return [*cleaning(work), *lost, *rest]
        LOG.info("Migration %s of server %s is %s, and is not confirmed",
                 self.migration["uuid"], work.uuid, self._status)  # fmt: skip
        return []

    def failed(self, failure: Failure) -> None:
        work = self.work
        if failure.verdict is Verdict.GONE or self._deleted:
            # It was deleted in the middle: whoever does that does not know of the migration.
            LOG.info("The move of server %s is not confirmed: %s", work.uuid, failure.message)
            self.let_go()
            return
        self.tell(failure)
        if move_ends.status(work) in move_ends.CONFIRMABLE:
            self.end_migration(move_ends.FINISHED)
        self.save_failed(task_state=None)


def cleaning(work: Work) -> Plan:
    """The stages that remove what this host has of a server that has left it, or what the old
    flavor had of one that has stayed."""
    if work.here:  # the guest and its interfaces are those of the new flavor
        return [(DiscardKept(work),)]
    release = (ReleaseOwnShares(work),) if shares.possible(work) else ()
    return [(RemoveGuest(work),), (UnplugInterfaces(work), *release), (DiscardKept(work),)]
