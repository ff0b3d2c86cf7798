"""check_can_live_migrate_destination and check_can_live_migrate_source: can a server go to another
host while it runs?

nova-conductor asks the host that is to get the server, which asks the one that has it. What either
refuses is a MigrationPreCheckError that names the host and the reason: the conductor tries the next
host. The answer is the LibvirtLiveMigrateData with which the migration begins.

Resume rule of the first: roll back. Its caller may have got no answer and go on with another host,
so the claim is dropped. The second changes nothing: forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import LiveMigrationRefused, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import live_checks
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.live.check import (
    AskAboutLeaving,
    Checked,
    CheckSource,
    CheckTarget,
    ClaimPlace,
    leave,
)
from nova_lite.wire.objects import WireObject


class CheckLiveMigrationDestination(Operation):
    event = "compute_check_can_live_migrate_destination"
    requires = {
        "block_migration": object,
        "disk_over_commit": object,
        "migration": WireObject | None,
        "limits": object,
    }
    answers = True
    rolls_back_unanswered = True
    places = ANYWHERE  # it is another host's server
    between_hosts = True
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._checked = Checked()

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        """A request may lead to several migrations, one after the other."""
        migration = arguments.get("migration")
        return str(migration.get("uuid", "")) if migration is not None else ""

    def load(self) -> None:
        """
        :raises LiveMigrationRefused: the caller may not wait any more; one who does hears of it
        """
        if self.work.resumed:
            raise LiveMigrationRefused(
                f"the agent on host {self.tools.host} was restarted while it looked whether server "
                f"{self.work.uuid} can come; ask again"
            )
        if live_checks.needs_reading(self.work):
            self.work.reload()

    def plan(self) -> Plan:
        work = self.work
        return [
            (CheckTarget(work),),
            (AskAboutLeaving(work, self._checked),),
            (ClaimPlace(work, self._checked),),
            COMPLETE,
        ]

    def answer(self) -> WireObject | None:
        return self._checked.data

    def failed(self, failure: Failure) -> None:
        """The caller gets the error. As in stock the server has a fault, too: where no host is
        left, its user sees there why."""
        if failure.verdict is not Verdict.GONE and not self.work.resumed:
            self.tell(failure)


class CheckLiveMigrationSource(Operation):
    event = "compute_check_can_live_migrate_source"
    requires = {"dest_check_data": WireObject}
    answers = True
    between_hosts = True
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._checked = Checked()

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        """Each host that is tried asks, and the same one again, with another file."""
        return str(arguments["dest_check_data"].get("filename", ""))

    def plan(self) -> Plan:
        return [(CheckSource(self.work, self._checked),)]

    def answer(self) -> WireObject:
        # An earlier process may have carried the step out.
        return self._checked.data or leave(self.work)

    def failed(self, failure: Failure) -> None:
        """The caller gets the error, and tells of it."""
