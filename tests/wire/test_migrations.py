"""Migration records are asked for as a stock agent asks for them, and understood as they come."""

from __future__ import annotations

import pytest

from nova_lite.conductor.migrations import Migrations
from nova_lite.services.ownership import Place, standing
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap, wrap
from nova_lite.wire.versions import manifest
from tests.fakes.conductor import FakeConductor
from tests.wire import recorded

CONTEXT = RequestContext({"request_id": "req-1", "read_deleted": "no"})


def exchanges(method):
    return recorded.exchanges(recorded.NEWEST, f"object_class_action_versions.{method}")


class Conductor:
    """Answers with what a real one answered; remembers what it was asked."""

    def __init__(self, reply):
        self._reply = reply

    def class_call(self, context, method, *args, **kwargs):
        self.asked = (method, list(args), kwargs, context.read_deleted)
        return wrap(self._reply)


@pytest.mark.parametrize(
    "exchange",
    recorded.held_to("object_class_action_versions.MigrationList.get_in_progress_and_error"),
)
def test_open_migrations_of_a_host(exchange):
    """Same method, arguments and manifest; migrations come back as they were sent."""
    args, reply = exchange["request"]["args"], exchange["replies"][0]["result"]
    conductor = Conductor(reply)

    found = Migrations(conductor).open_of_host(CONTEXT, *args["args"])

    method = f"{args['objname']}.{args['objmethod']}"
    assert conductor.asked == (method, args["args"], args["kwargs"], "no")
    assert manifest(args["objname"]) == args["object_versions"]
    assert unwrap(found) == reply["nova_object.data"]["objects"]


def test_a_live_migration_as_recorded_leaves_one_host_and_arrives_at_the_other():
    """The record names the source until it is over."""
    exchange = exchanges("MigrationList.get_in_progress_and_error")[0]
    (migration,) = Migrations(Conductor(exchange["replies"][0]["result"])).open_of_host(
        CONTEXT, "node2", "node2"
    )

    places = [standing({"host": "node2"}, host, migration).place for host in ("node1", "node2")]
    assert places == [Place.ARRIVING, Place.LEAVING]


def test_evacuations_are_asked_for_with_deleted_rows():
    """The filters are those of a stock agent that starts (nova/compute/manager.py)."""
    exchange = exchanges("MigrationList.get_by_filters")[0]
    conductor = Conductor(exchange["replies"][0]["result"])

    assert Migrations(conductor).evacuated_from(CONTEXT, "node1") == []

    filters = {
        "source_compute": "node1",
        "status": ["accepted", "pre-migrating", "done"],
        "migration_type": "evacuation",
    }
    assert conductor.asked == ("MigrationList.get_by_filters", [filters], {}, "yes")
    assert manifest("MigrationList") == exchange["request"]["args"]["object_versions"]


def test_the_stand_in_answers_as_the_recorded_one(tmp_path):
    """From the recorded row, by the recorded question, and by filters."""
    exchange = exchanges("MigrationList.get_in_progress_and_error")[0]
    (row,) = exchange["replies"][0]["result"]["nova_object.data"]["objects"]
    conductor = FakeConductor(tmp_path / "db.json")
    with conductor.database() as tables:
        tables["Migration"] = {"28": row["nova_object.data"]}
    migrations = Migrations(conductor)

    assert unwrap(migrations.open_of_host(CONTEXT, "node2", "node2")) == [row]
    assert migrations.open_of_host(CONTEXT, "third", "third") == []
    server = row["nova_object.data"]["instance_uuid"]
    assert migrations.open_of_server(CONTEXT, server)["id"] == 28
    assert migrations.evacuated_from(CONTEXT, "node2") == []


def test_what_is_asked_of_moves_that_end():
    """By uuid and by server also where the server was deleted; overdue ones as stock asks for
    them (``_poll_unconfirmed_resizes``)."""
    exchange = exchanges("MigrationList.get_in_progress_and_error")[0]
    conductor = Conductor(exchange["replies"][0]["result"])
    migrations = Migrations(conductor)
    (sent,) = exchange["replies"][0]["result"]["nova_object.data"]["objects"]

    assert unwrap(migrations.find(CONTEXT, "m1")) == sent
    by_filters = "MigrationList.get_by_filters"
    assert conductor.asked == (by_filters, [{"uuid": "m1"}], {}, "yes")
    assert unwrap(migrations.latest_of_server(CONTEXT, "s1")) == sent
    assert conductor.asked == (by_filters, [{"instance_uuid": "s1"}], {}, "yes")
    assert unwrap(migrations.unconfirmed(CONTEXT, "node2", 60)) == [sent]
    method = "MigrationList.get_unconfirmed_by_dest_compute"
    assert conductor.asked == (method, [60, "node2"], {"use_slave": True}, "no")
