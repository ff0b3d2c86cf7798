"""live_migration_abort: the server is to stay here; what goes on for its move is taken back.

It does not wait for the live migration, which is told, also while it waits for its turn. That takes
it back, or goes on where it is too late (``operations/live_migration.py``).

Resume rule: forward; telling it once more has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.live.control import EndMigration


class AbortLiveMigration(Operation):
    event = "compute_live_migration_abort"
    requires = {"migration_id": object}
    beside = True
    notifies = "live_migration_abort"
    between_hosts = True
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["migration_id"])

    def plan(self) -> Plan:
        return [(EndMigration(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The move goes on, or is over: its state is not touched."""
        self.tell(failure)
