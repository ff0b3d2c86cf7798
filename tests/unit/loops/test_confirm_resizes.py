"""Resizes that nobody confirms."""

from __future__ import annotations

import pytest

from nova_lite.errors import PeerUnavailable, ServerNotFound
from nova_lite.loops.confirm_resizes import OverdueResizes
from nova_lite.wire.objects import WireObject
from tests.fakes.peers import FakePeers

MOVE = {"id": 7, "uuid": "m1", "instance_uuid": "s1", "source_compute": "node2",
        "status": "finished"}  # fmt: skip


class Cloud:
    """Instances, migrations and actions in one."""

    def __init__(self, **fields):
        server = {"uuid": "s1", "host": "node1", "vm_state": "resized", "task_state": None}
        self.server = None if fields.get("gone") else {**server, **fields}
        self.statuses, self.actions, self.move = [], [], dict(MOVE)
        self.peers = FakePeers(node2={})

    def unconfirmed(self, context, host, age):
        assert (host, age) == ("node1", 600)
        return [WireObject.new("Migration", "1.8", **self.move)]

    def get(self, context, uuid, attrs):
        if self.server is None:
            raise ServerNotFound(uuid)
        return WireObject.new("Instance", "2.8", **self.server)

    def save(self, context, migration, status):
        self.statuses.append(status)

    def action_start(self, context, uuid, action):
        self.actions.append((uuid, action))

    def tick(self):
        OverdueResizes(
            "node1", 600, instances=self, migrations=self, actions=self, peers=self.peers
        ).tick()
        return [(host, method) for host, method, _ in self.peers.sent]


def test_the_old_host_is_asked_as_by_nova_api():
    """The migration is confirming, and there is an action that users see."""
    cloud = Cloud()
    assert cloud.tick() == [("node2", "confirm_resize")]
    assert cloud.statuses == ["confirming"]
    assert cloud.actions == [("s1", "confirmResize")]


@pytest.mark.parametrize(
    "fields",
    [{"task_state": "resize_finish"}, {"task_state": "deleting"}, {"host": "node3"}],
)
def test_a_server_with_something_going_on_is_left_alone(fields):
    """It is looked at again."""
    cloud = Cloud(**fields)
    assert (cloud.tick(), cloud.statuses) == ([], [])


@pytest.mark.parametrize("fields", [{"vm_state": "error"}, {"vm_state": "active"}, {"gone": True}])
def test_what_cannot_be_confirmed_any_more_is_in_error(fields):
    """As in stock: it would be found for ever."""
    cloud = Cloud(**fields)
    assert (cloud.tick(), cloud.statuses) == ([], ["error"])


def test_a_host_that_is_down_is_not_asked():
    """A revert stays possible until it is up."""
    cloud = Cloud()
    cloud.peers.answers.clear()
    assert (cloud.tick(), cloud.statuses) == ([], [])


def test_a_message_that_is_not_sent_leaves_the_move_finished(monkeypatch):
    """Else nobody could confirm it."""
    cloud = Cloud()

    def lost(*arguments, **more):
        raise PeerUnavailable("no queue")

    monkeypatch.setattr(cloud.peers, "cast", lost)
    assert cloud.tick() == []
    assert cloud.statuses == ["confirming", "finished"]


def test_a_move_between_cells_is_left_to_the_conductor():
    """The other host is in another cell, and hears nothing from here."""
    cloud = Cloud()
    cloud.move["cross_cell_move"] = True

    assert cloud.tick() == []
    assert (cloud.statuses, cloud.actions) == ([], [])
