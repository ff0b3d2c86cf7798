"""rollback_live_migration_at_destination: a running server does not come to this host.

The host that has it asks, when its live migration has failed or was aborted. Everything that
``pre_live_migration`` has made is removed, each part whatever becomes of the others; a guest that
runs here is never touched.

Resume rule: forward.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, ServerNotFound, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import arrivals, migrate_data
from nova_lite.services.disk_files import directory
from nova_lite.steps.base import Plan
from nova_lite.steps.live.give_up import (
    DisconnectArriving,
    ReleaseArriving,
    RemoveArriving,
    RemoveArrivingFiles,
    UnplugArriving,
)

LOG = logging.getLogger(__name__)


class RollbackLiveMigration(Operation):
    event = "compute_rollback_live_migration_at_destination"
    requires = {"destroy_disks": object, "migrate_data": object}
    places = ANYWHERE  # it is another host's server
    notifies = "live_migration_rollback_dest"
    between_hosts = True
    last_resort = {}

    def load(self) -> None:
        work = self.work
        try:
            work.reload()
        except ServerNotFound:
            LOG.info("Server %s was deleted while it moved", work.uuid)
        if work.here:
            raise MoveSuperseded(f"Server {work.uuid} is on host {self.tools.host} by now")
        found = arrivals.marked(directory(work))
        if found is not None and found.request != work.context.request_id:
            raise MoveSuperseded(
                f"Host {self.tools.host} is prepared for a later live migration of server "
                f"{work.uuid}"
            )

    def plan(self) -> Plan:
        work, data = self.work, self.work.arguments.get("migrate_data")
        data = migrate_data.read(data) if data is not None else None
        return [
            (RemoveArriving(work),),
            (
                UnplugArriving(work, data),
                DisconnectArriving(work, data),
                RemoveArrivingFiles(work, data),
                ReleaseArriving(work),
            ),
        ]

    def failed(self, failure: Failure) -> None:
        """Nobody waits, and the server is well; what is left here the log says."""
        if failure.nova_name == MoveSuperseded.nova_name or failure.verdict is Verdict.GONE:
            LOG.info("Nothing of server %s is removed here: %s", self.work.uuid, failure.message)
            return
        LOG.error("Something of server %s is left on this host, to which it did not come: %s",
                  self.work.uuid, failure.message)  # fmt: skip
