"""Until when a caller waits."""

from __future__ import annotations

import datetime
import time
from types import SimpleNamespace

import pytest

from nova_lite.errors import AnswerLost
from nova_lite.rpc.callers import check, waits_until
from nova_lite.wire.context import RequestContext

NEVER = float("inf")


def message(**fields):
    given = {
        "reply_q": "reply_1", "received": time.monotonic(), "limit": 1800.0,
        "client_timeout": 60, "may_have_waited": True,
        "message": {"method": "reserve_block_device_name"},
    }  # fmt: skip
    return SimpleNamespace(**{**given, **fields})


def asked(seconds_ago):
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    return RequestContext({"timestamp": then.replace(tzinfo=None).isoformat()})


@pytest.mark.parametrize(
    ("fields", "age", "waits"),
    [
        # The API may have had the request for long, and call only now.
        ({"may_have_waited": False}, 500, 1800.0),
        ({}, 5, 1800.0),
        ({}, 70, 0.0),
        # A step of a migration comes late in its request.
        ({"message": {"method": "pre_live_migration"}}, 500, 1800.0),
        # RabbitMQ drops what waits for longer than a caller without a monitor.
        ({"client_timeout": None, "limit": 60.0}, 500, 60.0),
        ({"limit": None}, 5, NEVER),
        ({"reply_q": None}, 500, NEVER),
        ({"received": None}, 500, NEVER),
    ],
    ids=[
        "sent just now", "waited a little", "monitored", "of a host", "plain", "unlimited", "cast",
        "unknown",
    ],
)
def test_until_when(fields, age, waits):
    """By what the message says, and by how long it can have waited at the broker."""
    it = message(**fields)

    assert waits_until(it, asked(age)) == (it.received or 0) + waits


def test_whoever_waits_is_served():
    """And who does not is told so, in case that is a mistake."""
    check(time.monotonic() + 5, "quiesce_instance", asked(0))
    with pytest.raises(AnswerLost, match="quiesce_instance.*ask for it again"):
        check(time.monotonic() - 0.1, "quiesce_instance", asked(0))
