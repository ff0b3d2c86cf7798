"""The stand-in conductor answers as the recorded one does."""

from __future__ import annotations

import copy

import pytest

from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, wrap
from tests.fakes.conductor import FakeConductor
from tests.wire import recorded

CONTEXT = RequestContext({"request_id": "req-1"})
# The database adds these to what it was given; the stand-in need not make them all.
BOOKKEEPING = {"created_at", "updated_at", "deleted_at", "deleted", "obj_what_changed", "id"}


@pytest.fixture
def conductor(tmp_path):
    return FakeConductor(tmp_path / "db.json")


@pytest.mark.parametrize("exchange", recorded.held_to("object_action.Instance.save"))
def test_saving_an_instance_returns_fields_as_recorded(conductor, exchange):
    """A save answers [changed fields, result]; the fields have the names a real one returns."""
    arguments = exchange["request"]["args"]
    wanted, wanted_result = exchange["replies"][0]["result"]
    row = copy.deepcopy(arguments["objinst"])
    # The row has more than the sender names.
    row["nova_object.data"] = copy.deepcopy(wanted) | row["nova_object.data"]
    del row["nova_object.data"]["obj_what_changed"]
    conductor.add_instance(row)
    instance = WireObject(arguments["objinst"])

    updates, result = conductor.object_call(CONTEXT, instance, "save")

    assert result == wanted_result
    assert set(wanted) - BOOKKEEPING <= set(updates) | set(instance.data)


@pytest.mark.parametrize(
    "exchange",
    recorded.held_to(
        "object_action.InstanceFault.create",
        "object_action.VirtualInterface.create",
        "object_action.InstanceInfoCache.save",
        "object_action.BlockDeviceMapping.save",
    ),
)
def test_records_are_made_and_saved_as_recorded(conductor, exchange):
    """Creating and saving a recorded object leaves a row with all that was sent."""
    arguments = exchange["request"]["args"]
    obj = WireObject(copy.deepcopy(arguments["objinst"]))

    updates, result = conductor.object_call(CONTEXT, obj, arguments["objmethod"])

    assert result == exchange["replies"][0]["result"][1]
    assert "obj_what_changed" in updates
    rows = conductor.read()[obj.name].values()
    sent = {field: obj.data[field] for field in obj.changes}
    assert any(sent.items() <= row.items() for row in rows)


@pytest.mark.parametrize("exchange", recorded.held_to("object_action.ConsoleAuthToken.authorize"))
def test_the_token_of_a_console_is_the_result(conductor, exchange):
    """As recorded: the token is both a changed field and the result."""
    token = WireObject(copy.deepcopy(exchange["request"]["args"]["objinst"]))

    updates, result = conductor.object_call(CONTEXT, token, "authorize", ttl=600)

    wanted, _ = exchange["replies"][0]["result"]
    assert updates["token"] == result
    assert wanted["token"] == exchange["replies"][0]["result"][1]


@pytest.mark.parametrize(
    "exchange", recorded.held_to("object_class_action_versions.Instance.get_by_uuid")
)
def test_an_instance_is_fetched_as_recorded(conductor, exchange):
    """get_by_uuid returns an Instance object with info_cache and flavor nested."""
    reply = exchange["replies"][0]["result"]
    conductor.add_instance(reply)

    found = conductor.class_call(CONTEXT, "Instance.get_by_uuid", reply["nova_object.data"]["uuid"])

    assert found.name == reply["nova_object.name"]
    assert found.version == reply["nova_object.version"]
    assert found.data == wrap(reply).data
