"""live_migration_force_complete: the live migration is to come to its end, whatever the guest does.

It does not wait for the live migration, which is told: it goes on by post-copy where that is
permitted, and else holds the guest until all of its memory is on the other host.

Resume rule: forward; telling it once more has no effect.
"""

from __future__ import annotations

from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.live.control import ForceMigration


class ForceLiveMigration(Operation):
    event = "compute_live_migration_force_complete"
    beside = True
    notifies = "live_migration_force_complete"
    between_hosts = True
    last_resort = {}

    def plan(self) -> Plan:
        return [(ForceMigration(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The move goes on, or is over: its state is not touched."""
        self.tell(failure)
