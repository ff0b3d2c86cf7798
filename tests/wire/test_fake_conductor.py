"""The stand-in conductor answers as the recorded one does."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, wrap
from tests.fakes.conductor import FakeConductor

METHODS = Path(__file__).parent / "data" / "methods"
CONTEXT = RequestContext({"request_id": "req-1"})
# The database adds these to what it was given; the stand-in need not make them all.
BOOKKEEPING = {"created_at", "updated_at", "deleted_at", "deleted", "obj_what_changed", "id"}


def recorded(name):
    return json.loads((METHODS / f"{name}.json").read_text())


@pytest.fixture
def conductor(tmp_path):
    return FakeConductor(tmp_path / "db.json")


@pytest.mark.parametrize("number", range(2))
def test_saving_an_instance_returns_fields_as_recorded(conductor, number):
    """A save answers [changed fields, result]; the fields have the names a real one returns."""
    exchange = recorded("object_action.Instance.save")[number]
    arguments = exchange["request"]["args"]
    conductor.add_instance(copy.deepcopy(arguments["objinst"]))
    instance = WireObject(arguments["objinst"])

    updates, result = conductor.object_call(
        CONTEXT, instance, "save", **{k: v for k, v in arguments["kwargs"].items() if k in ()}
    )

    wanted, wanted_result = exchange["replies"][0]["result"]
    assert result == wanted_result
    assert set(wanted) - BOOKKEEPING <= set(updates) | set(instance.data)


@pytest.mark.parametrize(
    "name",
    [
        "object_action.InstanceFault.create",
        "object_action.VirtualInterface.create",
        "object_action.InstanceInfoCache.save",
        "object_action.BlockDeviceMapping.save",
    ],
)
def test_records_are_made_and_saved_as_recorded(conductor, name):
    """Creating and saving a recorded object leaves a row with all that was sent."""
    exchange = recorded(name)[0]
    arguments = exchange["request"]["args"]
    obj = WireObject(copy.deepcopy(arguments["objinst"]))

    updates, result = conductor.object_call(CONTEXT, obj, arguments["objmethod"])

    assert result == exchange["replies"][0]["result"][1]
    assert "obj_what_changed" in updates
    rows = conductor.read()[obj.name].values()
    sent = {field: obj.data[field] for field in obj.changes}
    assert any(sent.items() <= row.items() for row in rows)


def test_the_token_of_a_console_is_the_result(conductor):
    """As recorded: the token is both a changed field and the result."""
    exchange = recorded("object_action.ConsoleAuthToken.authorize")[0]
    token = WireObject(copy.deepcopy(exchange["request"]["args"]["objinst"]))

    updates, result = conductor.object_call(CONTEXT, token, "authorize", ttl=600)

    wanted, _ = exchange["replies"][0]["result"]
    assert updates["token"] == result
    assert wanted["token"] == exchange["replies"][0]["result"][1]


def test_an_instance_is_fetched_as_recorded(conductor):
    """get_by_uuid returns an Instance object with info_cache and flavor nested."""
    exchange = recorded("object_class_action_versions.Instance.get_by_uuid")[0]
    reply = exchange["replies"][0]["result"]
    conductor.add_instance(reply)

    found = conductor.class_call(CONTEXT, "Instance.get_by_uuid", reply["nova_object.data"]["uuid"])

    assert found.name == reply["nova_object.name"]
    assert found.version == reply["nova_object.version"]
    assert found.data == wrap(reply).data
