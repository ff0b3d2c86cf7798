"""What servers that move claim of this host."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from nova_lite.inventory.claims import Claims, Role
from nova_lite.inventory.moves import claims_of_moves, open_moves
from nova_lite.wire.objects import WireObject

RECORDED = Path(__file__).parents[2] / "wire/data/methods/finish_resize.json"


def topology(name):
    return {"nova_object.name": name, "nova_object.data": {"cells": []}}


def move(source="there", target="here", **fields):
    """A recorded resize in the middle of its way, between two hosts; old and new flavor differ."""
    arguments = json.loads(RECORDED.read_text())[0]["request"]["args"]
    migration, instance = WireObject(arguments["migration"]), WireObject(arguments["instance"])
    migration.data.update(source_compute=source, dest_compute=target)
    context = instance.data["migration_context"]["nova_object.data"]
    context.update(old_numa_topology=topology("old"), new_numa_topology=topology("new"))
    instance.data["old_flavor"]["nova_object.data"].update(vcpus=1, memory_mb=100)
    instance.data["new_flavor"]["nova_object.data"].update(vcpus=4, memory_mb=400)
    instance.data.update(fields)
    return migration, instance


def claims(*moves):
    found = claims_of_moves([m for m, _ in moves], [i for _, i in moves], "here")
    return {
        role: (claim.sizes.vcpus, claim.numa["nova_object.name"])
        for (_, role), claim in found.items()
    }


RESIZED = {"vm_state": "resized", "task_state": None}


@pytest.mark.parametrize(
    ("source", "target", "fields", "wanted"),
    [
        # It comes here: before and after its record names this host.
        ("there", "here", {"host": "there", "task_state": "resize_prep"}, ("INCOMING", 4, "new")),
        ("there", "here", {"host": "here", "task_state": "resize_migrated"}, ("CURRENT", 4, "new")),
        ("there", "here", {"host": "here", **RESIZED}, None),
        # It leaves: what it had is kept until the resize is confirmed.
        ("here", "there", {"host": "here", "task_state": "resize_migrating"}, None),
        ("here", "there", {"host": "there", **RESIZED}, ("OUTGOING", 1, "old")),
        # On one host: both count, whichever it has.
        ("here", "here", {"host": "here", "task_state": "resize_prep"}, ("INCOMING", 4, "new")),
        ("here", "here", {"host": "here", "instance_type_id": 2, **RESIZED},
         ("OUTGOING", 1, "old")),
        # Others' moves, and one that nobody is at any more.
        ("there", "third", {"host": "there", "task_state": "resize_prep"}, None),
        ("there", "here", {"host": "there", "task_state": None}, None),
    ],
)  # fmt: skip
def test_what_a_resize_claims(source, target, fields, wanted):
    """As stock accounts for it."""
    found = claims(move(source, target, **fields))

    assert found == ({} if wanted is None else {Role[wanted[0]]: wanted[1:]})


class Records:
    """A conductor's lists of instances and migrations; a hidden server is listed on demand."""

    def __init__(self, move):
        self.migration, self.instance = move
        self.asked = 0

    def open_of_host(self, context, host, node):
        return [self.migration]

    def by_filters(self, context, filters, attrs):
        self.asked += 1
        hidden = bool(self.instance.get("hidden"))
        wanted = self.instance["uuid"] in filters["uuid"]
        return [self.instance] if wanted and filters.get("hidden", False) is hidden else []


@pytest.mark.parametrize(("hidden", "calls"), [(True, 2), (False, 1)])
def test_a_server_that_comes_from_another_cell_is_hidden(hidden, calls):
    """Until it is there; InstanceList.get_by_filters leaves hidden ones out, unless it is asked for
    them alone."""
    records = Records(move(host="there", task_state="resize_prep", hidden=hidden))

    found = open_moves(records, records, "here", "here")

    assert [role for _, role in found] == [Role.INCOMING]
    assert records.asked == calls


def test_a_live_migration_claims_what_the_server_has():
    """It has no other flavor, and a placed topology only if it asked for one."""
    migration, instance = move(host="there", task_state="migrating", old_flavor=None,
                               new_flavor=None, numa_topology=topology("there"))  # fmt: skip
    instance.data["flavor"]["nova_object.data"]["vcpus"] = 3

    assert claims((migration, instance)) == {Role.INCOMING: (3, "new")}


def test_a_record_of_another_migration_claims_nothing():
    """The last one failed before it wrote its context."""
    migration, instance = move(host="there", task_state="resize_prep")
    migration.data["id"] += 1

    assert claims((migration, instance)) == {}


def test_the_latest_migration_counts():
    """An older one stayed in ``error``."""
    migration, instance = move(host="there", task_state="resize_prep")
    older = WireObject(copy.deepcopy(migration.primitive))
    older.data.update(id=1, status="error", source_compute="here", dest_compute="there")

    assert claims((migration, instance), (older, instance)) == {Role.INCOMING: (4, "new")}


def test_a_broken_record_does_not_keep_the_host_down(caplog):
    """It is logged and left out."""
    migration, instance = move(host="there", task_state="resize_prep")
    del instance.data["new_flavor"]["nova_object.data"]["vcpus"]

    assert claims((migration, instance)) == {}
    assert str(instance["uuid"]) in caplog.text


def test_both_flavors_of_a_resize_on_one_host_count_until_it_is_confirmed():
    """Also after a restart: the server must be able to go back."""
    migration, instance = move("here", "here", host="here", instance_type_id=2, **RESIZED)
    instance.data["flavor"] = instance.data["new_flavor"]
    instance.data["numa_topology"] = None
    kept = Claims()
    kept.restore([instance])
    kept.keep(claims_of_moves([migration], [instance], "here"))

    assert (kept.usage().used.vcpus, kept.usage().running_vms) == (5, 1)

    kept.release(str(instance["uuid"]), Role.OUTGOING)

    assert kept.usage().used.vcpus == 4
