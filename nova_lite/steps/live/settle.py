"""Steps of a live migration of which the request is gone: its record takes the place of that."""

from __future__ import annotations

from nova_lite.model.states import TaskState
from nova_lite.services import migrate_data, moves
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.live.source import forget_target, release
from nova_lite.wire.objects import WireObject


class EndUnfinished(Step):
    """Let a server go on here that nobody moves any more.

    :param record: its migration; None: nobody has begun one
    """

    name = "end_unfinished"

    def __init__(self, work: Work, record: WireObject | None) -> None:
        super().__init__(work)
        self._record = record

    def do(self) -> None:
        work, tools = self.work, self.tools
        release(work)
        if self._record is not None:
            forget_target(work)
            tools.placement.move_allocations(str(self._record["uuid"]), work.uuid)
            tools.migrations.save(work.context, self._record, status="error")
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.MIGRATING],
            task_state=None,
            progress=0,
            **moves.forgotten(work),
        )
        tools.usage_changed()


def know(work: Work, record: WireObject) -> None:
    """Let a migration's record take the place of the request that nobody has any more."""
    known = {
        "dest": str(record["dest_compute"]),
        "migration": record,
        "migrate_data": migrate_data.new(),
        "block_migration": None,
    }
    work.arguments = {**work.arguments, **known}
