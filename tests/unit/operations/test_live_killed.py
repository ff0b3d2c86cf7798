"""A live migration whose agent is killed, or whose host loses its power: never two guests, and a
record that names the host of the one."""

from __future__ import annotations

import time

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    HypervisorError,
    HypervisorUnavailable,
    NetworkUnavailable,
    PeerUnavailable,
)
from nova_lite.model.live_migration import Migrating, MigrationPhase
from nova_lite.model.states import PowerState
from nova_lite.rpc import endpoint
from tests.fakes.killed import Killed, until_killed
from tests.fakes.ledger_ports import FakePortBindings
from tests.unit.operations.live import TARGET_URI, VERBS, LiveHosts
from tests.unit.operations.two_hosts import NODE


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def succeeds(hosts):
    pass


def fails(hosts):
    hosts.source.hypervisor.migration_error = "the network is gone"


def ended(hosts):
    """What has to be the same; who is killed while he tells something tells it again."""
    seen = hosts.look()
    seen["activated"] = [host for _, host in seen["activated"]]
    seen["faults"] = [text.replace(hosts.server, "server") for text in seen["faults"]]
    return seen


@pytest.mark.parametrize("scenario", [succeeds, fails])
def test_it_ends_the_same_wherever_the_agent_is_killed(tmp_path, scenario):
    """As an agent that nobody disturbed."""
    first = LiveHosts(tmp_path / "first", volume=True)
    scenario(first)
    boundaries = first.boundaries()
    wanted = ended(first)
    if scenario is fails:  # the way there is that of the other one
        boundaries = [boundary for boundary in boundaries if boundary.endswith((":end", "undone"))]

    for number, boundary in enumerate(boundaries):
        hosts = LiveHosts(tmp_path / str(number), volume=True)
        scenario(hosts)

        hosts.killed(boundary)
        hosts.resume()

        assert ended(hosts) == wanted, boundary


def killed_on_the_way(hosts):
    """The agent is killed when the guest is on its way."""
    fake = hosts.source.hypervisor
    fake.migration_looks = 10**9
    told = fake.migration

    def migration(uuid):
        found = told(uuid)
        if found.active:
            fake.migration = told
            raise Killed
        return found

    fake.migration = migration
    agent = hosts.source.agent(**hosts.parts())
    with until_killed(60):
        hosts.source.send(agent, "live_migration", **hosts.request())
    return agent


def test_the_hypervisor_goes_on_without_the_agent(tmp_path):
    """The next one watches on, and begins nothing twice."""
    hosts = LiveHosts(tmp_path)
    killed_on_the_way(hosts)
    hosts.source.hypervisor.sent[hosts.server].looks = 2

    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    calls = [name for name, _ in hosts.source.hypervisor.calls]
    assert calls.count("migrate") == 1
    assert hosts.prepared == 1


def test_a_guest_that_arrives_while_no_agent_runs(tmp_path):
    """The next one goes on from there."""
    hosts = LiveHosts(tmp_path, volume=True)
    killed_on_the_way(hosts)
    hosts.source.hypervisor.arrive(hosts.server)
    hosts.source.hypervisor.forget_migrations()

    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.migration()["status"] == "completed"
    assert hosts.look()["host1"]["files"] == []


def test_a_migration_that_fails_while_no_agent_runs(tmp_path):
    """It is tried again: nothing of it is left."""
    hosts = LiveHosts(tmp_path)
    killed_on_the_way(hosts)
    hosts.source.hypervisor.lose(hosts.server, "libvirtd was restarted")
    hosts.source.hypervisor.forget_migrations()
    hosts.source.hypervisor.migration_looks = 1

    hosts.resume()

    assert hosts.state() == ("host2", "active", None)


def test_an_abort_is_not_forgotten(tmp_path):
    """What was promised to its user holds, whoever carries it out."""
    hosts = LiveHosts(tmp_path)
    agent = killed_on_the_way(hosts)
    hosts.ask(agent, "live_migration_abort", migration_id=7)
    agent.engine.settle(5)

    hosts.resume()

    assert hosts.state() == ("host1", "active", None)
    assert hosts.migration()["status"] == "cancelled"
    assert hosts.source.hypervisor.sent[hosts.server].phase is MigrationPhase.CANCELLED
    assert hosts.guest(hosts.dest) is None


def test_both_hosts_have_the_guest(tmp_path):
    """A hypervisor that has lost the other's last answer lets it run here, too: that one ends."""
    hosts = LiveHosts(tmp_path)
    agent = begun(hosts)
    hosts.source.hypervisor.split(hosts.server)
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == (None, "RUNNING")


def begun(hosts):
    """A migration that does not come to its end by itself."""
    hosts.source.hypervisor.migration_looks = 10**9
    agent = hosts.source.agent(**hosts.parts())
    hosts.source.send(agent, "live_migration", **hosts.request())
    until(lambda: hosts.server in hosts.source.hypervisor.sent)
    return agent


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("end", ["answers", "is dead"])
def test_a_guest_that_may_be_the_second_one(tmp_path, end):
    """It is held until the other host says what it has, or an operator that it has nothing."""
    hosts = LiveHosts(tmp_path)
    agent = begun(hosts)
    fake = hosts.source.hypervisor
    fake.hypervisors[TARGET_URI], there = None, fake.hypervisors[TARGET_URI]
    fake.sent[hosts.server].held = True
    fake.sent[hosts.server].phase = MigrationPhase.FAILED
    fake.guests[hosts.server].migrating = Migrating.NO

    until(lambda: hosts.guest(hosts.source) == "PAUSED")
    assert hosts.state()[2] == "migrating"
    if end == "answers":
        there.drop_arriving(hosts.server)
        fake.hypervisors[TARGET_URI] = there
    else:
        hosts.peers.fenced.add("host2")
    assert agent.engine.settle(60)

    assert hosts.state() == ("host1", "active", None)
    assert hosts.guest(hosts.source) == "RUNNING"
    assert hosts.migration()["status"] == "failed"


@pytest.mark.parametrize("mends", [True, False])
def test_post_copy_that_is_cut_off(tmp_path, monkeypatch, mends):
    """It is brought to its end; a memory that is lost ends the guest, not the move."""
    monkeypatch.setattr("nova_lite.steps.live.source.RESUMES", 2)
    hosts = LiveHosts(tmp_path)
    hosts.source.conf.set_override("live_migration_permit_post_copy", True, "libvirt")
    agent = begun(hosts)
    fake, resumed = hosts.source.hypervisor, []
    usual = fake.migrate

    def migrate(uuid, migration):
        resumed.append(uuid)
        if mends:
            fake.sent[uuid].phase = MigrationPhase.POST_COPY
            fake.arrive(uuid)

    fake.migrate = migrate
    hosts.ask(agent, "live_migration_force_complete")
    until(lambda: hosts.migration()["status"] == "running (post-copy)")
    for there in (fake, hosts.dest.hypervisor):
        there.guests[hosts.server].migrating = Migrating.BROKEN
        there.guests[hosts.server].state = PowerState.PAUSED
    fake.sent[hosts.server].phase = MigrationPhase.FAILED
    assert agent.engine.settle(60)

    assert usual and len(resumed) == (1 if mends else 2)
    assert hosts.state() == ("host2", "active", None)
    assert hosts.guest(hosts.source) is None
    assert hosts.guest(hosts.dest) == ("RUNNING" if mends else "PAUSED")


def test_a_guest_that_its_hypervisor_has_forgotten(tmp_path, monkeypatch):
    """It is held here, and waited for over there: it goes on here."""
    monkeypatch.setattr("nova_lite.services.live_places.PATIENCE_S", 0.2)
    hosts = LiveHosts(tmp_path)
    agent = begun(hosts)
    fake = hosts.source.hypervisor
    here = fake.guests[hosts.server]
    here.migrating, here.state = Migrating.UNDECIDED, PowerState.PAUSED
    fake.sent[hosts.server].phase = MigrationPhase.FAILED
    usual = fake.resume

    def resume(uuid):
        usual(uuid)
        here.migrating = Migrating.NO
        hosts.dest.hypervisor.drop_arriving(uuid)

    fake.resume = resume
    assert agent.engine.settle(60)

    assert hosts.state() == ("host1", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == ("RUNNING", None)


def test_a_guest_that_is_held_on_both_hosts(tmp_path):
    """Cut off in the switch-over: nobody starts it before it is clear who has it."""
    hosts = LiveHosts(tmp_path)
    killed_on_the_way(hosts)
    fake = hosts.source.hypervisor
    here = fake.guests[hosts.server]
    here.state, here.migrating = PowerState.PAUSED, Migrating.LEAVING
    fake.sent[hosts.server].phase = MigrationPhase.NONE
    looks = []
    told = fake.guest_at

    def guest_at(uri, uuid):
        looks.append(uri)
        if len(looks) == 20:
            fake.arrive(uuid)
        elif uri == TARGET_URI:
            assert here.state is PowerState.PAUSED
        return told(uri, uuid)

    fake.guest_at = guest_at
    hosts.resume()

    assert len(looks) >= 20
    assert hosts.state() == ("host2", "active", None)


def test_a_target_that_does_not_say_what_it_has(tmp_path):
    """A guest that is not whole here is not given up before that host answers."""
    hosts = LiveHosts(tmp_path)
    killed_on_the_way(hosts)
    fake = hosts.source.hypervisor
    fake.guests[hosts.server].state = PowerState.SHUTDOWN  # this host lost its power
    fake.sent[hosts.server].phase = MigrationPhase.NONE
    arriving = hosts.dest.hypervisor.guests.pop(hosts.server)
    fake.hypervisors[TARGET_URI] = None
    asked, told = [], fake.guest_at

    def guest_at(uri, uuid):
        asked.append(uri)
        if len(asked) == 20:
            arriving.state, arriving.migrating = PowerState.RUNNING, Migrating.NO
            hosts.dest.hypervisor.guests[uuid] = arriving
            fake.hypervisors[TARGET_URI] = hosts.dest.hypervisor
        return told(uri, uuid)

    fake.guest_at = guest_at
    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == (None, "RUNNING")


@pytest.mark.parametrize(
    ("state", "migrating"),
    [(PowerState.PAUSED, Migrating.UNDECIDED), (PowerState.SHUTDOWN, Migrating.NO)],
)
def test_a_target_that_is_about_to_drop_the_guest_has_not_got_it(tmp_path, state, migrating):
    """When this host has lost its power its libvirt needs a moment: all that is left is here."""
    hosts = LiveHosts(tmp_path)
    killed_on_the_way(hosts)
    fake = hosts.source.hypervisor
    fake.guests[hosts.server].state = PowerState.SHUTDOWN
    fake.sent[hosts.server].phase = MigrationPhase.NONE
    arriving = hosts.dest.hypervisor.guests[hosts.server]
    arriving.state, arriving.migrating = state, migrating
    told, begun = fake.guest_at, time.monotonic()

    def guest_at(uri, uuid):
        if time.monotonic() - begun > 0.3:
            hosts.dest.hypervisor.guests.pop(uuid, None)
        return told(uri, uuid)

    fake.guest_at = guest_at
    hosts.resume()

    assert hosts.state() == ("host1", "active", None)
    assert hosts.look()["host1"]["files"]
    assert hosts.migration()["status"] == "failed"


def test_a_hypervisor_that_is_away_proves_nothing(tmp_path):
    """Its migration is waited for."""
    hosts = LiveHosts(tmp_path)
    fake, told = hosts.source.hypervisor, hosts.source.hypervisor.migration
    looks = []

    def migration(uuid):
        looks.append(uuid)
        fake.available = len(looks) > 20
        try:
            return told(uuid)
        finally:
            fake.available = True

    fake.migration = migration
    hosts.go()

    assert hosts.state() == ("host2", "active", None)


# --- the power ----------------------------------------------------------------------------------
def power_fails(hosts, boundary):
    usual = hosts.source.agent
    hosts.source.agent = lambda observer=None, **more: usual(
        observer, **{**hosts.parts(), **more}
    )
    try:
        hosts.source.power_fails(boundary, "live_migration", **hosts.request())
    finally:
        hosts.source.agent = usual
    fake = hosts.source.hypervisor
    for uuid, sent in list(fake.sent.items()):
        if sent.phase is MigrationPhase.RUNNING:
            fake.hypervisors[TARGET_URI].drop_arriving(uuid)
    fake.sent.clear()


def test_the_power_fails_here(tmp_path):
    """At the end of any step: the record names the host that has the guest, or its disks."""
    first = LiveHosts(tmp_path / "first", volume=True)
    steps = [boundary for boundary in first.boundaries() if boundary.endswith(":end")]
    wanted = ended(first)

    for number, boundary in enumerate(steps):
        hosts = LiveHosts(tmp_path / str(number), volume=True)

        power_fails(hosts, boundary)
        hosts.resume()

        seen = ended(hosts)
        assert seen["host1"]["journal"] == [], boundary
        if hosts.guest(hosts.dest) == "RUNNING":
            for name in ("state", "migration", "allocations", "bound", "beside", "host1"):
                assert seen[name] == wanted[name], (boundary, name)
        else:
            assert hosts.state() == ("host1", "active", None), boundary
            assert hosts.guest(hosts.source) == "SHUTDOWN", boundary
            assert seen["migration"] == "failed", boundary
            assert seen["bound"] == ["host1"], boundary
            assert seen["cinder"] == [("attached", "host1")], boundary
            assert seen["host1"]["files"], boundary


# --- what comes after the switch ----------------------------------------------------------------
@pytest.mark.parametrize("error", ["silent", "refuses"])
def test_a_target_that_cannot_finish(tmp_path, monkeypatch, error):
    """The record comes to name it all the same: the guest runs there."""
    monkeypatch.setattr("nova_lite.steps.live.leave.PATIENCE_S", 0.2)
    hosts = LiveHosts(tmp_path, volume=True)

    def finish(arguments):
        raise PeerUnavailable("host2 is silent") if error == "silent" else HypervisorError("no")

    hosts.peers.answers["host2"]["post_live_migration_at_destination"] = finish
    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.row("node"), hosts.row("compute_id")) == (NODE, 2)
    assert hosts.migration()["status"] == "completed"
    assert hosts.look()["host1"] == {"files": [], "guest": None, "taps": 0, "journal": []}
    assert hosts.ledger.read()["allocations"] == {hosts.server: {"host2": {"VCPU": 1}}}


def test_an_answer_that_gets_lost(tmp_path):
    """The other host has finished: its record is not written over."""
    hosts = LiveHosts(tmp_path)

    def finish(arguments):
        hosts.finish(arguments)
        hosts.set(display_name="renamed")
        raise PeerUnavailable("host2 is silent")

    hosts.peers.answers["host2"]["post_live_migration_at_destination"] = finish
    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.finished, hosts.row("display_name")) == (1, "renamed")


def test_a_switch_that_is_dead_here(tmp_path):
    """It is no reason to keep the server: its interfaces are unplugged later."""
    hosts = LiveHosts(tmp_path, volume=True)
    hosts.source.vifs.dead = True

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.migration()["status"] == "completed"


@pytest.mark.parametrize("away", ["neutron", "libvirt"])
def test_what_is_away_after_the_switch(tmp_path, monkeypatch, away):
    """It keeps the record from nothing, and the rest of this host from being tidied up."""
    monkeypatch.setattr("nova_lite.steps.live.leave.INSIST_S", 0.2)
    hosts = LiveHosts(tmp_path, volume=True)
    if away == "neutron":

        def activate(bindings, context, ports, host):
            raise NetworkUnavailable("no answer")

        monkeypatch.setattr(FakePortBindings, "activate", activate)
    else:
        hosts.source.hypervisor.destroy = lambda uuid: (_ for _ in ()).throw(
            HypervisorUnavailable("libvirtd is gone")
        )

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.migration()["status"] == "completed"
    assert hosts.look()["host1"] == {"files": [], "guest": None, "taps": 0, "journal": []}
    assert hosts.connected(hosts.source) == []
    assert hosts.cinder() == [("attached", "host2")]


@pytest.mark.parametrize("seen_before", [False, True])
@pytest.mark.parametrize("error", [HypervisorError, HypervisorUnavailable])
def test_a_hypervisor_that_cannot_be_asked_for_a_moment(tmp_path, error, seen_before):
    """Nothing is concluded from that: the guest goes on to its new host."""
    hosts = LiveHosts(tmp_path, volume=True)
    usual, asked = hosts.source.hypervisor.migration, []

    def migration(uuid):
        asked.append(uuid)
        if len(asked) in ((2, 3) if seen_before else (1, 2)):
            raise error("the monitor has hiccups")
        return usual(uuid)

    hosts.source.hypervisor.migration = migration

    hosts.go()

    assert len(asked) > 3
    assert hosts.state() == ("host2", "active", None)
    assert hosts.migration()["status"] == "completed"
