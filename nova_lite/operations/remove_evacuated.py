"""remove_evacuated: nothing of a server that was evacuated from this host is left on it.

Nobody sends it: this host begins it for servers of which its migration records say so (see
``loops.evacuated``). The guest goes first, so that two hosts do not run the server; then what it
used here, its share of the host in Placement, and last the migration is recorded as completed, as
stock does it. Ports, volumes and records are the other host's and stay as they are; disks that it
uses as well, because the storage is shared, stay too.

Resume rule: forward; each step leaves less of the server here, and doing it again is harmless. What
fails is begun again later, as long as the migration is not completed.
"""

from __future__ import annotations

import logging

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import cut_moves
from nova_lite.services.interfaces import remember_own_side
from nova_lite.services.ownership import Place, standing
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan, Stage
from nova_lite.steps.evacuated import (
    CompleteEvacuation,
    DisconnectOwnVolumes,
    DropHostAllocation,
    EndCutMove,
    ReleaseOwnShares,
    RemoveOwnFiles,
)
from nova_lite.steps.guest.domain import RemoveGuest
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class RemoveEvacuated(Operation):
    """Decides anew after a restart: the server may have come back, or be on its way."""

    event = None
    places = ANYWHERE
    urgent = True  # whatever is being done to it here must end

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._evacuations: list[WireObject] = []
        self._left = False
        self._cut: WireObject | None = None

    def load(self) -> None:
        work, tools = self.work, self.tools
        self._evacuations = [
            migration
            for migration in tools.migrations.evacuated_from(work.context, tools.host)
            if migration["instance_uuid"] == work.uuid
        ]
        if not self._evacuations:
            return
        everything = work.context.elevated(read_deleted=True)
        work.instance = tools.instances.get(everything, work.uuid)
        self._left = self._has_left()
        if self._left:
            tools.events.forget(work.uuid)
            remember_own_side(work)
            # Of a deleted server, what it had when it was deleted.
            deleted = bool(work.instance.get("deleted"))
            context = everything if deleted else work.context
            work.mappings = tools.block_devices.of_server(context, work.uuid)

    def _has_left(self) -> bool:
        """Whether the server has no business here; False: it is back, or about to arrive."""
        work, tools = self.work, self.tools
        if work.instance.get("deleted"):
            return True
        migration = tools.migrations.open_of_server(work.context, work.uuid)
        latest = max(int(found["id"]) for found in self._evacuations)
        if migration is not None and int(migration["id"]) < latest:
            # This host was moving it when it died.
            if work.elsewhere and cut_moves.is_cut_off(migration):
                self._cut = migration
            migration = None
        found = standing(work.instance, tools.host, migration)
        if found.place is Place.ARRIVING and found.host is not None:
            self._evacuations = []  # nothing is known to be over: look again later
        return found.place is Place.ELSEWHERE or found.host is None

    def plan(self) -> Plan:
        work = self.work
        if not self._evacuations:
            return []
        complete: Stage = (CompleteEvacuation(work, self._evacuations),)
        if not self._left:
            LOG.info("Server %s was evacuated from here and is back", work.uuid)
            return [complete]
        LOG.warning("Server %s was evacuated from here: removing what is left of it", work.uuid)
        return [
            (RemoveGuest(work),),
            (
                UnplugInterfaces(work),
                DisconnectOwnVolumes(work),
                RemoveOwnFiles(work, self._other_host()),
                ReleaseOwnShares(work),
            ),
            (ReleaseResources(work),),
            (DropHostAllocation(work),),
            *([(EndCutMove(work, self._cut),)] if self._cut is not None else []),
            complete,
        ]

    def _other_host(self) -> str | None:
        """Who has the server now, or is going to; None while nobody was chosen yet."""
        named = self.work.instance.get("host")
        if named not in (None, self.tools.host):
            return str(named)
        latest = max(self._evacuations, key=lambda migration: int(migration["id"]))
        target = latest.get("dest_compute")
        return str(target) if target else None

    def failed(self, failure: Failure) -> None:
        LOG.error("Evacuated server %s is not wholly removed from here, and will be tried again: "
                  "%s", self.work.uuid, failure.message)  # fmt: skip


