"""Servers from other cells that do not come after all, or that nova-conductor has taken back when
they were here: it deletes their records, and tells nobody."""

from __future__ import annotations

import logging

from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError, ServerNotFound
from nova_lite.inventory.claims import Role
from nova_lite.services.cell_arrivals import CellArrivals
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

METHOD = "remove_lost_arrival"  # operations/remove_lost_arrival.py
INTERVAL_S = 30.0


class LostArrivals:
    """Asks nobody as long as no server is on its way."""

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine
        self._arrivals = CellArrivals(tools)

    def tick(self) -> None:
        """Look at the records of servers that are to come, or have come from another cell.

        One conductor call for each: Instance.get_by_uuid.

        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        """
        noted = self._arrivals.servers()
        for uuid in noted:
            if not self._engine.busy(uuid):
                self._look(uuid)
        for uuid in sorted(self._tools.claims.coming() - set(noted)):
            if not self._engine.busy(uuid) and self._find(uuid) is None:
                LOG.info("Server %s does not come: its record is gone", uuid)
                self._tools.claims.release(uuid, Role.INCOMING)
                self._tools.usage_changed()

    def _look(self, uuid: str) -> None:
        found = self._find(uuid)
        if found is None:
            self._remove(uuid)
        elif not found.get("hidden"):
            self._arrivals.forget(uuid)

    def _find(self, uuid: str) -> WireObject | None:
        """The record, also of a server that was deleted by its user."""
        everything = RequestContext.admin().elevated(read_deleted=True)
        try:
            return self._tools.instances.get(everything, uuid, ())
        except ServerNotFound:
            return None

    def _remove(self, uuid: str) -> None:
        kept = self._arrivals.read(uuid)
        if kept is None:
            return
        instance, volumes = kept
        LOG.warning("The move of server %s to this cell was taken back: removing it here", uuid)
        arguments = {"instance": instance, "volumes": dict(volumes)}
        try:
            self._engine.begin(METHOD, RequestContext.admin(), uuid, arguments)
        except NovaLiteError as error:
            LOG.error("Cannot remove server %s: %s", uuid, error)
