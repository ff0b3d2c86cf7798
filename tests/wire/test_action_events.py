"""Action events of our own are those that nova-conductor takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.client import Conductor
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.conductor import FakeConductor
from tests.fakes.transport import FakeTransport

METHODS = Path(__file__).parent / "data" / "methods"
EVENT = "compute_live_migration_forecast"


@pytest.fixture
def exchange() -> dict[str, Any]:
    """How nova makes an event that is over (InstanceActionEvent.create), and what it answers."""
    name = "object_action.InstanceActionEvent.create.json"
    found: dict[str, Any] = json.loads((METHODS / name).read_text())[0]
    return found


def test_an_event_is_told_as_nova_does(exchange: dict[str, Any]) -> None:
    """The same method, version, fields and names; the times are of one form."""
    wanted = exchange["request"]["args"]
    server = wanted["kwargs"]["instance_uuid"]
    transport = FakeTransport(answers=(exchange["replies"][0]["result"],))

    Actions(Conductor(transport), "node1").tell(
        RequestContext({"request_id": "req-1"}), server, EVENT, "why"
    )

    (sent,) = transport.sent
    assert (sent.topic, sent.call, sent.message["version"]) == ("conductor", True, "3.0")
    assert sent.message["method"] == exchange["request"]["method"]
    arguments = sent.message["args"]
    ours, theirs = (without_times(one["objinst"]) for one in (arguments, wanted))
    assert ours == theirs
    assert {**arguments, "objinst": None} == {**wanted, "objinst": None}


def without_times(event: dict[str, Any]) -> dict[str, Any]:
    """What is to be equal, with the changes in any order."""
    data = dict(event["nova_object.data"])
    times = {name: data.pop(name) for name in ("start_time", "finish_time")}
    assert all(len(one) == len("2026-01-01T00:00:00Z") and one[-1] == "Z" for one in times.values())
    return {
        **event, "nova_object.data": data,
        "nova_object.changes": sorted(event["nova_object.changes"]),
    }  # fmt: skip


def test_the_stand_in_takes_it_as_the_conductor_does(
    exchange: dict[str, Any], tmp_path: Path
) -> None:
    """It answers [changed fields, nothing], and keeps what was said."""
    arguments = exchange["request"]["args"]
    conductor = FakeConductor(tmp_path / "db.json")

    updates, result = conductor.object_call(
        RequestContext({"request_id": "req-1"}), WireObject(arguments["objinst"]),
        arguments["objmethod"], **arguments["kwargs"],
    )  # fmt: skip

    wanted, nothing = exchange["replies"][0]["result"]
    assert result == nothing
    assert set(updates) <= set(wanted)
    server = arguments["kwargs"]["instance_uuid"]
    assert conductor.read()["told"] == [[server, EVENT, "why"]]
