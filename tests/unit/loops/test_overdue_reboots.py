"""reboot_timeout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nova_lite.errors import UnexpectedTaskState
from nova_lite.loops.overdue import OverdueReboots
from nova_lite.wire.objects import WireObject


class Cloud:
    """Records and own requests."""

    def __init__(self, task_state, seconds_ago):
        updated = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        self.record = WireObject.new(
            "Instance", "2.8", uuid="s1", task_state=task_state,
            updated_at=updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )  # fmt: skip
        self.asked, self.is_busy = [], False

    def by_host(self, context, host, expected_attrs):
        return [self.record]

    def busy(self, uuid):
        return self.is_busy

    def ask(self, context, instance, method, **arguments):
        self.asked.append((method, arguments))


@pytest.mark.parametrize("task", ["rebooting", "reboot_pending", "reboot_started"])
def test_a_reboot_that_takes_too_long_becomes_a_hard_one(task) -> None:
    """It takes the place of the soft one, and only of that."""
    cloud = Cloud(task, 120)

    OverdueReboots("node1", 60, cloud, cloud).tick()

    ((method, arguments),) = cloud.asked
    assert (method, arguments["reboot_type"]) == ("reboot_instance", "HARD")
    assert arguments["expected_task_state"] == [task]


@pytest.mark.parametrize(
    ("task", "seconds", "busy"),
    [
        ("rebooting", 30, False),
        ("rebooting", 120, True),
        ("rebooting_hard", 120, False),
        (None, 120, False),
    ],
)
def test_all_others_are_left_alone(task, seconds, busy) -> None:
    """Not long enough, still at work, or no soft reboot at all."""
    cloud = Cloud(task, seconds)
    cloud.is_busy = busy

    OverdueReboots("node1", 60, cloud, cloud).tick()

    assert cloud.asked == []


def test_somebody_else_was_faster() -> None:
    """A reboot that ends just now needs no help."""
    cloud = Cloud("rebooting", 120)

    def refuse(*arguments, **more):
        raise UnexpectedTaskState("task_state is None")

    cloud.ask = refuse
    OverdueReboots("node1", 60, cloud, cloud).tick()
