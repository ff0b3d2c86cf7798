"""Events of actions."""

from __future__ import annotations

import pytest

from nova_lite.conductor.actions import START_LAGS, Actions
from nova_lite.wire.exceptions import RemoteFailure
from tests.fakes.clock import ManualClock


class Conductor:
    """Its answers to one call after the other, the last for ever."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), 0

    def class_call(self, context, method, *args, **kwargs):
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


def not_found(what):
    return RemoteFailure(what, "not found")


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ((None,), 1),
        ((not_found("InstanceActionEventNotFound"), None), 2),
        ((not_found("InstanceActionEventNotFound"),), 5),
        ((not_found("InstanceActionNotFound"),), 1),
    ],
    ids=["found", "start was overtaken", "never started", "no such action"],
)
def test_a_finish_waits_for_its_start(answers, calls):
    """The start is a cast: another worker of the conductor may come to it later."""
    conductor = Conductor(*answers)

    clock = ManualClock()
    Actions(conductor, "host1", clock).finish(None, "s1", "compute_trigger_crash_dump")

    assert (conductor.calls, clock.slept) == (calls, list(START_LAGS[: calls - 1]))
