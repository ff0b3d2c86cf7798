"""Events of actions."""

from __future__ import annotations

import pytest

from nova_lite.conductor.actions import START_LAGS, Actions, shortened
from nova_lite.errors import RequestTokenExpired, Verdict
from nova_lite.failures import Failure
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


class Faults:
    """Keeps the rows."""

    def __init__(self):
        self.rows = []

    def create(self, context, name, **fields):
        self.rows.append(fields)


def recorded(failure):
    conductor = Faults()
    Actions(conductor, "host1").fault(None, "s1", failure)
    (row,) = conductor.rows
    return row


@pytest.mark.parametrize(("code", "details"), [(500, "File \"boot.py\", line 7"), (400, "")])
def test_users_see_no_trace_of_ours(code, details):
    """nova-api keeps the details of a fault from them only where its code is 500."""
    failure = Failure("Invalid", "no", code, Verdict.ABORT, True, "File \"boot.py\", line 7")

    row = recorded(failure)

    assert (row["code"], row["details"]) == (code, details)


def test_a_long_message_keeps_its_reason_and_its_remedy():
    """What lies between them is a list more often than not."""
    known = ", ".join(f"pc-q35-{number}.0" for number in range(40))
    text = f"machine type q36 is not available; known are {known}: choose one of the flavor's"
    failure = Failure("Invalid", text, 500, Verdict.ABORT, True, "")

    message = recorded(failure)["message"]

    assert 230 < len(message) <= 255
    assert set(message.split()) <= {*text.split(), "..."}, "a word is torn"
    assert message.startswith("machine type q36 is not available; known are pc-q35-0.0")
    assert " ... " in message and message.endswith(": choose one of the flavor's")


def test_a_lost_token_s_fault_says_whole_what_to_do():
    """Behind the words that a build puts before it, too; see the boot's own fault."""
    error = RequestTokenExpired("the block-storage service")
    text = f"Build of instance 4e7d0f67-65d2-46c4-9ac0-fbad996f3b07 aborted: {error}"

    assert shortened(text) == text and "ask again" in text
