"""shelved_offload_time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nova_lite.errors import UnexpectedTaskState
from nova_lite.loops.overdue import OverdueShelved
from nova_lite.wire.objects import WireObject


class Cloud:
    """Records and own requests."""

    def __init__(self, vm_state="shelved", task_state=None, seconds_ago=120, is_busy=False):
        since = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=seconds_ago)
        self.record = WireObject.new(
            "Instance", "2.8", uuid="s1", vm_state=vm_state, task_state=task_state,
            system_metadata={"shelved_at": since.isoformat()},
        )  # fmt: skip
        self.asked, self.is_busy = [], is_busy

    def by_host(self, context, host, expected_attrs):
        return [self.record]

    def busy(self, uuid):
        return self.is_busy

    def ask(self, context, instance, method, **arguments):
        self.asked.append((method, arguments["task_state"]))


def test_who_was_shelved_for_long_enough_leaves():
    """As if its user had asked for it."""
    cloud = Cloud()

    OverdueShelved("node1", 60, cloud, cloud).tick()

    assert cloud.asked == [("shelve_offload_instance", "shelving_offloading")]


@pytest.mark.parametrize(
    "fields",
    [{"seconds_ago": 30}, {"is_busy": True}, {"task_state": "powering-on"}, {"vm_state": "active"}],
)
def test_all_others_stay(fields):
    """Not long enough, busy, on its way back, or running."""
    cloud = Cloud(**fields)

    OverdueShelved("node1", 60, cloud, cloud).tick()

    assert cloud.asked == []


def test_somebody_else_was_faster():
    """An unshelve that was asked for just now goes first."""
    cloud = Cloud()

    def refuse(*arguments, **more):
        raise UnexpectedTaskState("unshelving")

    cloud.ask = refuse

    OverdueShelved("node1", 60, cloud, cloud).tick()
