"""The schedulers' list of servers of this host, as it is after a switch from nova-compute."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.loops import schedule
from nova_lite.loops.scheduler_list import SchedulerList
from nova_lite.scheduler.client import Scheduler
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.transport import FakeTransport
from tests.unit.engine.toys import World as Toys
from tests.unit.engine.toys import make_engine, run


class FakeScheduler:
    """nova-scheduler's HostManager for one host, as far as these messages go.

    ``records`` are the servers of the database; ``read`` tells which ones it schedules by.
    """

    def __init__(self, known=None, records=()):
        self.known, self.updated = known, known is not None
        self.records, self.heard, self.away = set(records), [], False

    def _recreate(self):
        self.known, self.updated = set(self.records), False

    def _hear(self, *message):
        if self.away:
            raise ControlPlaneUnavailable("no broker")
        self.heard.append(message)

    def sync(self, servers):
        self._hear("sync", *sorted(servers))
        if self.known is None or self.known != set(servers):
            self._recreate()
        else:
            self.updated = True

    def arrived(self, server):
        self._hear("arrived", server)
        if self.known is None:
            self._recreate()
        else:
            self.known.add(server)
            self.updated = True

    def left(self, server):
        self._hear("left", server)
        if self.known is None:
            self._recreate()
        else:
            self.known.discard(server)
            self.updated = True

    def read(self):
        return self.known if self.known is not None and self.updated else self.records


class Host:
    """A host, its schedulers, and a clock."""

    def __init__(self, scheduler, every=120.0):
        self.scheduler, self.clock = scheduler, ManualClock(1000.0)
        self.list = SchedulerList(scheduler, lambda: scheduler.records, every, self.clock)

    def tick(self, seconds=10.0):
        self.clock.sleep(seconds)
        self.list.tick()
        assert self.scheduler.read() == self.scheduler.records


def test_what_stock_told_last_does_not_count_any_more():
    """The server that it knew was deleted, another one was built, while the agents changed."""
    host = Host(FakeScheduler(known={"old", "kept"}, records={"kept", "new"}))

    host.tick()

    assert host.scheduler.heard == [("sync", "kept", "new")]


def test_each_change_is_told_and_nothing_without_one():
    """At once and no more than that; all of it in intervals."""
    host = Host(FakeScheduler(known=set(), records=()))
    host.tick()
    host.scheduler.records = {"a", "b"}
    host.tick()
    host.tick()
    host.scheduler.records = {"b"}
    host.tick()
    host.tick(120)

    assert host.scheduler.heard == [
        ("sync",), ("arrived", "a"), ("arrived", "b"), ("left", "a"), ("sync", "b")
    ]  # fmt: skip


def test_a_message_that_may_be_lost_is_made_good_by_all_of_it():
    """The broker was away when something changed."""
    host = Host(FakeScheduler(known=set()), every=None)
    host.tick()
    host.scheduler.records, host.scheduler.away = {"a", "b"}, True
    with pytest.raises(ControlPlaneUnavailable):
        host.list.tick()
    host.scheduler.away = False
    host.tick()

    assert host.scheduler.heard == [("sync",), ("sync", "a", "b")]


def test_the_messages_are_those_of_the_scheduler_s_api():
    """Fan-out casts of 4.2, with names of arguments that nova-scheduler takes."""
    transport = FakeTransport()
    scheduler = Scheduler(transport, "node1")

    scheduler.sync({"b", "a"})
    scheduler.arrived("a")
    scheduler.left("b")

    assert {(sent.topic, sent.call) for sent in transport.sent} == {("scheduler", False)}
    assert {sent.message["version"] for sent in transport.sent} == {"4.2"}
    sync, arrived, left = (sent.message for sent in transport.sent)
    assert (sync["method"], sync["args"]) == (
        "sync_instance_info", {"host_name": "node1", "instance_uuids": ["a", "b"]}
    )  # fmt: skip
    assert (left["method"], left["args"]) == (
        "delete_instance_info", {"host_name": "node1", "instance_uuid": "b"}
    )  # fmt: skip
    assert arrived["method"] == "update_instance_info"
    listed = arrived["args"]["instance_info"]
    assert listed["nova_object.name"] == "InstanceList"
    (instance,) = listed["nova_object.data"]["objects"]
    assert instance["nova_object.name"] == "Instance"
    assert instance["nova_object.data"] == {"uuid": "a"}


def test_every_operation_that_ends_asks_for_a_look(tmp_path):
    """The timer is poked when an outcome is on disk."""
    engine = make_engine(tmp_path / "journal", Toys())
    conf = read_conf(tmp_path, {"libvirt": {"virt_type": "qemu"}})
    (timer,) = schedule.scheduler_list(conf, SimpleNamespace(), set, engine)
    pokes = []
    timer.poke = lambda: pokes.append(1)

    run(engine)

    assert pokes == [1]


@pytest.mark.parametrize(
    ("groups", "every"),
    [
        ({}, 120.0),
        ({"DEFAULT": {"scheduler_instance_sync_interval": "0"}}, 60.0),
        ({"DEFAULT": {"scheduler_instance_sync_interval": "-1"}}, None),
        ({"DEFAULT": {"periodic_enable": "false"}}, None),
        ({"filter_scheduler": {"track_instance_changes": "false"}}, "off"),
    ],
)
def test_the_options_are_those_of_nova(tmp_path, groups, every):
    """track_instance_changes and scheduler_instance_sync_interval."""
    engine = make_engine(tmp_path / "journal", Toys())
    timers = schedule.scheduler_list(
        read_conf(tmp_path, groups), SimpleNamespace(), set, engine
    )

    assert every == ("off" if not timers else timers[0].tick.__self__._every)
