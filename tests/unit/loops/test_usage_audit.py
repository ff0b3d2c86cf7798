"""The usage audit: every server once for each period, whatever happens to the agent."""

from __future__ import annotations

import datetime

from nova_lite.errors import MalformedMessage
from nova_lite.loops.usage_audit import UsageAudit
from nova_lite.wire.objects import WireObject


class World:
    """Conductor and listener in one; ``state`` is what the cloud knows of the period."""

    on, with_mappings, with_shares = True, False, False

    def __init__(self, servers=("a", "b"), state=None):
        self.servers, self.state = servers, state
        self.told, self.calls, self.broken = [], [], set()
        self.time = datetime.datetime(2026, 3, 2, 10, 20, tzinfo=datetime.UTC)

    def audit(self, setting="hour"):
        return UsageAudit(
            "h1", setting, "instance-%08x", notifier=self, instances=self, block_devices=self,
            share_mappings=self, logs=self, now=lambda: self.time,
        )  # fmt: skip

    def find(self, context, task, host, beginning, ending):
        self.calls.append(("find", beginning.hour, ending.hour))
        return self.state and WireObject.new("TaskLog", "1.0", state=self.state)

    def begin(self, context, task, host, beginning, ending, items):
        self.calls.append(("begin", task, host, items))
        return WireObject.new("TaskLog", "1.0")

    def end(self, context, log, errors, message):
        self.calls.append(("end", errors))

    def active_in(self, context, host, beginning, ending):
        return [WireObject.new("Instance", "2.8", uuid=u, id=1) for u in self.servers]

    def exists(self, subject, *, so_far):
        if subject.instance["uuid"] in self.broken:
            raise MalformedMessage("cannot be read")
        self.told.append((subject.instance["uuid"], so_far))


def test_every_server_of_the_last_period_is_told_and_the_cloud_knows():
    """The record is begun before, and ended after."""
    world = World()

    world.audit().tick()

    assert world.told == [("a", False), ("b", False)]
    assert world.calls == [
        ("find", 9, 10), ("begin", "instance_usage_audit", "h1", 2), ("end", 0)
    ]  # fmt: skip


def test_a_period_is_audited_once_and_asked_for_once():
    """Ticks between two periods ask nobody anything."""
    world = World()
    audit = world.audit()
    audit.tick()
    del world.calls[:], world.told[:]

    audit.tick()
    assert (world.calls, world.told) == ([], [])

    world.time += datetime.timedelta(hours=1)
    audit.tick()
    assert world.calls[0] == ("find", 10, 11)
    assert len(world.told) == 2


def test_an_audit_that_was_done_before_a_restart_is_not_done_again():
    """The cloud's record says so."""
    world = World(state="DONE")

    world.audit().tick()

    assert world.told == []


def test_an_audit_that_was_cut_off_is_done_again():
    """Its record is there already and is only ended."""
    world = World(state="RUNNING")

    world.audit().tick()

    assert len(world.told) == 2
    assert world.calls == [("find", 9, 10), ("end", 0)]


def test_a_server_that_cannot_be_told_is_counted():
    """The others are told all the same."""
    world = World()
    world.broken = {"a"}

    world.audit().tick()

    assert world.told == [("b", False)]
    assert world.calls[-1] == ("end", 1)
