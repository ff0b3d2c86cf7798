"""Files that another host has sent here for a move that failed, or that were made here for a live
migration: that host could not have them taken away, for this one was not reached any more.

Stock nova-compute leaves them for ever. An evacuation to this host removes them first, where it is
certain that they are no shared storage: see ``services.cut_moves``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError
from nova_lite.loops.leftovers import servers_with_directory
from nova_lite.services.arrivals import marked
from nova_lite.services.move_ends import FAILED
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

METHOD = "remove_partial"  # operations/remove_partial.py
# The first time soon: it may be the loss of this host's power that has made the move fail.
INTERVAL_S, FIRST_S = 1800.0, 60.0


class PartialArrivals:
    """Asks nobody as long as each directory of a server has its guest."""

    def __init__(self, instances_path: Path, tools: Toolbox, engine: Engine) -> None:
        self._instances_path = instances_path
        self._tools = tools
        self._engine = engine

    def tick(self) -> None:
        """Have each directory looked at to whose server a move to this host has failed, when
        nothing else is being done with that. One conductor call where there are directories
        without a guest: MigrationList.get_in_progress_and_error, as at start.

        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        :raises HypervisorUnavailable: guests cannot be listed
        """
        found = servers_with_directory(self._instances_path)
        if found:
            found -= {domain.uuid for domain in self._tools.hypervisor.domains()}
        made = {uuid for uuid in found if marked(self._instances_path / uuid) is not None}
        if found:
            made |= found & self._expected_in_vain()
        for uuid in sorted(made):
            if self._engine.busy(uuid):
                continue
            instance = WireObject.new("Instance", VERSIONS["Instance"], uuid=uuid)
            try:
                self._engine.begin(METHOD, RequestContext.admin(), uuid, {"instance": instance})
            except NovaLiteError as error:
                LOG.error("Cannot look at what was sent here of server %s: %s", uuid, error)

    def _expected_in_vain(self) -> set[str]:
        """The servers to which a move to this host has failed, deleted ones included: the others
        that have a directory here are of hosts that share it."""
        tools = self._tools
        everything = RequestContext.admin().elevated(read_deleted=True)
        return {
            str(migration["instance_uuid"])
            for migration in tools.migrations.open_of_host(everything, tools.host, tools.node)
            if migration.get("status") in FAILED and migration.get("dest_compute") == tools.host
        }
