"""The step that forecasts a live migration, before anything is prepared for it."""

from __future__ import annotations

import logging

from nova_lite.errors import LiveMigrationRefused
from nova_lite.services import live_forecast, live_moves
from nova_lite.services.live_guest import NOVA
from nova_lite.services.notes import LiveNotes
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)

EVENT = "compute_live_migration_forecast"


class ForecastMigration(Step):
    """Choose the way by what the guest writes and the link takes; refuse what would not end.

    What is chosen holds for whoever resumes; only where it was not noted the guest is measured
    again. The event is written at least once.

    :raises LiveMigrationRefused: no permitted way ends in time
    """

    name = "forecast_migration"

    def done(self) -> bool:
        notes = LiveNotes.of(self.work.notes)
        chosen = notes.live_method is not None and notes.live_untold is None
        return chosen or live_moves.is_prepared(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        if tools.conf.nova_lite.live_migration_method == NOVA:
            return
        if LiveNotes.of(work.notes).live_method is None:
            self._choose()
        text = LiveNotes.of(work.notes).live_untold
        if text is not None:
            tools.actions.tell(work.context, work.uuid, EVENT, text)
            work.note(live_untold=None)

    def _choose(self) -> None:
        work = self.work
        decision, target = live_forecast.decide(work), live_moves.target(work)
        if decision.refused:
            LOG.warning("Server %s is not sent to host %s: %s", work.uuid, target, decision.text)
            work.note(live_refused=True)
            raise LiveMigrationRefused(decision.text)
        LOG.info("Server %s goes to host %s: %s", work.uuid, target, decision.text)
        work.note(
            live_refused=False,
            live_method=str(decision.method or NOVA),
            live_forecast=live_forecast.figures(decision),
            live_untold=decision.text,
        )
