"""Whose server it is, by its records."""

from __future__ import annotations

import pytest

from nova_lite.services.ownership import Ownership, Place, standing
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

HERE, ARRIVING, LEAVING, ELSEWHERE = Place


def migration(kind, status, source, target):
    return WireObject.new(
        "Migration", "1.8", id=1, migration_type=kind, status=status, source_compute=source,
        dest_compute=target,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "move", "place"),
    [
        ("here", None, HERE),
        ("there", None, ELSEWHERE),
        (None, None, ARRIVING),
        # An evacuation from here: this host was down, and is not asked.
        ("here", ("evacuation", "accepted", "here", None), ELSEWHERE),
        ("here", ("evacuation", "pre-migrating", "here", "there"), ELSEWHERE),
        ("there", ("evacuation", "done", "here", "there"), ELSEWHERE),
        # It came back since then.
        ("here", ("evacuation", "done", "here", "there"), HERE),
        # An evacuation to here.
        ("there", ("evacuation", "pre-migrating", "there", "here"), ARRIVING),
        ("there", ("evacuation", "failed", "there", "here"), ELSEWHERE),
        # A resize: the old disks stay on the source until it is confirmed.
        ("here", ("resize", "pre-migrating", "here", "there"), LEAVING),
        ("there", ("resize", "finished", "here", "there"), LEAVING),
        ("there", ("resize", "confirmed", "here", "there"), ELSEWHERE),
        ("there", ("resize", "migrating", "there", "here"), ARRIVING),
        ("here", ("resize", "finished", "there", "here"), HERE),
        ("here", ("resize", "migrating", "here", "here"), HERE),
        # A live migration.
        ("here", ("live-migration", "running", "here", "there"), LEAVING),
        ("there", ("live-migration", "preparing", "there", "here"), ARRIVING),
        ("there", ("live-migration", "running", "there", "third"), ELSEWHERE),
    ],
)
def test_the_place_of_a_server(host, move, place):
    """From the host of its record, and its migration if that is open."""
    found = standing({"host": host}, "here", migration(*move) if move else None)

    assert (found.place, found.host, found.recorded_here) == (place, host, host == "here")


@pytest.mark.parametrize(
    ("host", "places", "permitted"),
    [("here", {HERE}, True), ("there", {HERE}, False), ("there", {HERE, LEAVING}, True)],
)
def test_what_may_be_done_to_a_server_that_leaves(host, places, permitted):
    """While the record names this host whatever the API lets through, then only the move."""
    leaving = standing({"host": host}, "here", migration("resize", "finished", "here", "there"))

    assert leaving.permits(places) is permitted


class Records:
    """Instances and migrations in one; counts what it is asked for."""

    def __init__(self, move=None, **fields):
        self.fields, self.move, self.asked = fields, move, []

    def get(self, context, uuid, expected_attrs):
        self.asked.append("instance")
        return WireObject.new("Instance", "2.8", uuid=uuid, **self.fields)

    def open_of_server(self, context, uuid):
        self.asked.append("migration")
        return self.move


@pytest.mark.parametrize(
    ("fields", "moves", "asked", "place"),
    [
        ({"host": "here", "task_state": None}, False, ["instance"], HERE),
        ({"host": "there", "task_state": None}, False, ["instance"], ELSEWHERE),
        ({"host": "there", "task_state": None}, True, ["instance", "migration"], ELSEWHERE),
        ({"host": "here", "task_state": "rebuilding"}, False, ["instance", "migration"], ELSEWHERE),
    ],
)
def test_the_migration_is_read_only_where_it_matters(fields, moves, asked, place):
    """An evacuation is a rebuild elsewhere, and the record names this host until it is over."""
    move = migration("evacuation", "accepted", "here", None)
    records = Records(move, **fields)

    found = Ownership("here", records, records).find(RequestContext({}), "s1", moves=moves)

    assert records.asked == asked
    assert found.standing.place is place
