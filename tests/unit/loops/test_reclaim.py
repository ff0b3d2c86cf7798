"""Soft-deleted servers end when their time is over."""

from __future__ import annotations

import datetime

from nova_lite.errors import UnexpectedTaskState
from nova_lite.loops.reclaim import Reclaim
from nova_lite.wire.objects import WireObject


class Cloud:
    """Instances, block devices and own requests in one."""

    def __init__(self, **ages):
        now = datetime.datetime.now(datetime.UTC)
        self.servers = {
            uuid: age is not None and (now - datetime.timedelta(seconds=age)).isoformat()
            for uuid, age in ages.items()
        }
        self.asked, self.filters, self.taken = {}, None, set()

    def by_filters(self, context, filters, expected_attrs):
        self.filters = filters
        return [
            WireObject.new("Instance", "2.8", uuid=uuid, deleted_at=moment or None)
            for uuid, moment in self.servers.items()
        ]

    def list_of_server(self, context, uuid):
        return f"mappings of {uuid}"

    def ask(self, context, instance, method, **arguments):
        if instance["uuid"] in self.taken:
            raise UnexpectedTaskState("it is being restored")
        self.asked[instance["uuid"]] = (context.request_id, method, arguments)


def tick(cloud):
    Reclaim("node1", 60, cloud, cloud, cloud).tick()


def test_a_server_is_deleted_when_its_time_is_over():
    """Older ones go, younger ones stay, those that nobody dated go."""
    cloud = Cloud(old=61, young=30, undated=None)

    tick(cloud)

    assert sorted(cloud.asked) == ["old", "undated"]
    _, method, arguments = cloud.asked["old"]
    assert (method, arguments["action"]) == ("terminate_instance", "delete")
    assert arguments["bdms"] == "mappings of old"
    assert cloud.filters == {"vm_state": "soft-delete", "task_state": None, "host": "node1"}


def test_each_is_a_request_of_its_own():
    """Two servers in one action could not be told apart."""
    cloud = Cloud(one=100, two=100)
    tick(cloud)
    assert len({request for request, _, _ in cloud.asked.values()}) == 2


def test_one_that_is_restored_at_this_moment_is_kept():
    """The user was faster; the others are dealt with all the same."""
    cloud = Cloud(restored=100, old=100)
    cloud.taken.add("restored")
    tick(cloud)
    assert list(cloud.asked) == ["old"]
