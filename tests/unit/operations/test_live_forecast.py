"""A live migration is carried out as its forecast says, and not begun where it would not end."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import pytest

from nova_lite.conf import load
from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError, InvalidConfiguration
from nova_lite.model.live_migration import GuestAt
from nova_lite.model.states import PowerState
from nova_lite.rpc import endpoint
from nova_lite.services.link_speeds import FRESH_S, LinkSpeed, LinkSpeeds
from nova_lite.services.live_forecast import ASSUMED, MIB, REMEDY, REMEDY_SLOW
from tests.benchmark.forecasts import outcome
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.killed import Killed, until_killed
from tests.unit.operations.live import VERBS, LiveHosts

PERMITS = ("live_migration_permit_auto_converge", "live_migration_permit_post_copy")


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def hosts_with(directory, writes=0, method="auto", link=0, age=0, **libvirt):
    """``writes`` in MiB/s; ``link``, too, as earlier migrations told it ``age`` seconds ago."""
    hosts = LiveHosts(directory, shared=True, old={"memory_mb": 4096})
    hosts.source.conf.set_override("live_migration_method", method, "nova_lite")
    for name, value in libvirt.items():
        hosts.source.conf.set_override(name, value, "libvirt")
    hosts.source.hypervisor.dirty_rates[hosts.server] = writes * MIB
    if link:
        clock = ManualClock(time.time() - age)
        LinkSpeeds(hosts.source.state / "nova-lite" / "links.json", clock).add("host2", link * MIB)
    return hosts


def untouched(hosts, power=PowerState.RUNNING):
    """Nothing was prepared that somebody would have to take back."""
    assert (hosts.prepared, hosts.rolled_back) == (0, 0)
    assert hosts.source.hypervisor.sent == {}
    assert hosts.state() == ("host1", "active" if power == PowerState.RUNNING else "paused", None)
    assert hosts.source.hypervisor.guest_at(None, hosts.server) == GuestAt(power)
    assert hosts.look()["allocations"] == {"server": {"host1": {"VCPU": 1}}}


def told(hosts):
    return [details for _, event, details in hosts.conductor.read().get("told", [])
            if event == "compute_live_migration_forecast"]  # fmt: skip


def test_an_idle_guest_is_pre_copied(tmp_path, caplog):
    """The event and the log say why, and that the link's figure is assumed."""
    caplog.set_level(logging.INFO)
    hosts = hosts_with(tmp_path)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    (text,) = told(hosts)
    assert text.startswith("pre-copy takes ")
    assert "assumed" in text
    assert text in caplog.text
    found = outcome(caplog.text, hosts.server)
    assert found["expected"]["method"] == "pre-copy"
    assert found["outcome"]["sent_mib"] == 1024
    assert not hosts.source.hypervisor.sent[hosts.server].migration.auto_converge


@pytest.mark.parametrize(
    ("size", "file_backed", "sent"),
    [(None, 0, 1024), ("large", 0, 4096), (None, 8192, 4096)],
    ids=["usual", "large pages", "in files"],
)
def test_memory_that_a_guest_has_not_used(tmp_path, size, file_backed, sent):
    """It is empty and not sent; of large pages and files the process does not tell."""
    hosts = hosts_with(tmp_path, link=1000, live_migration_permit_post_copy=True,
                       file_backed_memory=file_backed)  # fmt: skip
    hosts.source.hypervisor.resident_kib[hosts.server] = 1024**2
    if size:
        hosts._old_flavor({"extra_specs": {"hw:mem_page_size": size}})

    hosts.go()

    assert f", {sent} MiB are to be sent" in told(hosts)[0]


def test_a_writer_is_slowed_down_where_that_is_permitted(tmp_path):
    """Also where post-copy is at hand."""
    hosts = hosts_with(tmp_path, 2000, link=1000, **dict.fromkeys(PERMITS, True))

    hosts.go()

    assert told(hosts)[0].startswith("auto-converge takes ")
    assert hosts.source.hypervisor.sent[hosts.server].migration.auto_converge


def test_a_guest_that_would_not_arrive_is_refused(tmp_path):
    """Before anything is prepared; the fault has the figures and what to do."""
    hosts = hosts_with(tmp_path, 2000, link=1000)

    hosts.go()

    untouched(hosts)
    assert hosts.migration()["status"] == "error"
    (fault,) = hosts.faults()
    assert "would not end within 3200 s: the guest writes 2000 MiB/s, the link takes 1000" in fault
    assert "4096 MiB are to be sent" in fault
    assert fault.endswith(f"{REMEDY} (host host1)")
    assert told(hosts) == []


@pytest.mark.parametrize("post_copy", [True, False])
@pytest.mark.parametrize("paused", [True, False])
def test_a_guest_that_would_come_too_late_is_refused(tmp_path, post_copy, paused):
    """Though it would come in the end: 4 GiB take longer than 40 s by 10 MiB/s. No other way would
    help, and none is recommended."""
    hosts = hosts_with(tmp_path, link=10, live_migration_completion_timeout=10,
                       live_migration_permit_post_copy=post_copy)  # fmt: skip
    if paused:
        hosts.set(vm_state="paused")
        hosts.source.hypervisor.pause(hosts.server)

    hosts.go()

    untouched(hosts, PowerState.PAUSED if paused else PowerState.RUNNING)
    assert hosts.migration()["status"] == "error"
    assert "would not end within 40 s: the guest writes 0 MiB/s, the link" in hosts.faults()[0]
    assert hosts.faults()[0].endswith(f"{REMEDY_SLOW} (host host1)")


def test_a_guest_that_would_not_arrive_is_post_copied_where_that_is_permitted(tmp_path):
    """It is not refused, and QEMU is not left to try for minutes."""
    hosts = hosts_with(tmp_path, 2000, link=1000, live_migration_permit_post_copy=True)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert told(hosts)[0].startswith("post-copy takes ")
    sent = hosts.source.hypervisor.sent[hosts.server].migration
    assert (sent.post_copy, sent.auto_converge) == (True, False)


def test_what_was_refused_can_be_asked_for_again(tmp_path):
    """By the next request, when its guest writes less."""
    hosts = hosts_with(tmp_path, 2000, link=1000)
    hosts.go()
    hosts.source.hypervisor.dirty_rates.clear()
    hosts._begin({}, "host2")

    agent = hosts.source.agent(**hosts.parts())
    hosts.ask(agent, "live_migration", **hosts.request())
    assert agent.engine.settle(60)

    assert hosts.state() == ("host2", "active", None)


# --- what is known ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"link": 1000, "live_migration_timeout_action": "force_complete"},
        {"link": 1000, "age": FRESH_S + 60},
        {"link": 1000, "age": -3600},
    ],
    ids=["assumed", "forced", "old", "clock set back"],
)
def test_what_is_not_certain_is_tried(tmp_path, options):
    """An assumed or old figure of the link refuses nobody, and a migration may be forced to its
    end."""
    hosts = hosts_with(tmp_path, 2000, **options)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert "it would not end" in told(hosts)[0]


def test_a_figure_of_the_link_ages(tmp_path):
    """The fresh ones count; where there are none, the old ones are good for a guess."""
    clock = ManualClock(10**9)
    links = LinkSpeeds(tmp_path / "links.json", clock)
    links.add("host2", 900)
    clock.sleep(FRESH_S)
    links.add("host2", 100)
    assert links.of("host2") == LinkSpeed(900, 2, fresh=True)
    clock.sleep(1)
    assert links.of("host2") == LinkSpeed(100, 1, fresh=True)
    clock.sleep(FRESH_S)
    assert links.of("host2") == LinkSpeed(900, 2, fresh=False)


@pytest.mark.parametrize(
    ("link", "takes"), [(0, 100), (1000, 100), (50, 50)], ids=["unknown", "fast", "slow"]
)
def test_a_cap_is_the_most_that_the_link_takes(tmp_path, link, takes):
    """It refuses who would not arrive, though nobody knows the link; a slower link counts."""
    hosts = hosts_with(tmp_path, 200, link=link, live_migration_bandwidth=100)

    hosts.go()

    untouched(hosts)
    assert f"the guest writes 200 MiB/s, the link takes {takes} MiB/s" in hosts.faults()[0]


def test_what_a_cap_has_slowed_down_says_nothing_of_the_link(tmp_path):
    """It is not kept."""
    hosts = hosts_with(tmp_path, live_migration_bandwidth=100)
    fake, seen = hosts.source.hypervisor, hosts.source.hypervisor.migration
    fake.migration = lambda uuid: replace(seen(uuid), bandwidth_bytes_s=100 * MIB)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert LinkSpeeds(hosts.source.state / "nova-lite" / "links.json").of("host2") is None


def test_a_paused_guest_writes_nothing(tmp_path):
    """It is not measured, goes by pre-copy, and stays paused."""
    hosts = hosts_with(tmp_path, 2000, link=1000, **dict.fromkeys(PERMITS, True))
    hosts.set(vm_state="paused")
    hosts.source.hypervisor.pause(hosts.server)
    hosts.source.hypervisor.dirty_rate = None

    hosts.go()

    assert hosts.state() == ("host2", "paused", None)
    assert told(hosts)[0].startswith("pre-copy takes 5 s")
    assert "the guest writes 0 MiB/s" in told(hosts)[0]


@pytest.mark.parametrize("method", ["post-copy", "auto-converge"])
def test_a_paused_guest_needs_neither(tmp_path, method):
    """What is configured is not possible: that is said, not only done."""
    hosts = hosts_with(tmp_path, 0, method, 1000, **dict.fromkeys(PERMITS, True))
    hosts.set(vm_state="paused")
    hosts.source.hypervisor.pause(hosts.server)

    hosts.go()

    assert told(hosts)[0].startswith(f"no {method}, for the guest is paused: pre-copy takes")
    sent = hosts.source.hypervisor.sent[hosts.server].migration
    assert (sent.post_copy, sent.auto_converge) == (False, False)


def test_without_a_measurement_there_is_no_forecast(tmp_path):
    """It goes as [libvirt] says."""
    hosts = hosts_with(tmp_path)

    def fail(uuid, seconds):
        raise HypervisorError("no such thing")

    hosts.source.hypervisor.dirty_rate = fail
    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert told(hosts)[0].startswith("no forecast")


def test_nothing_is_measured_by_default(tmp_path):
    """As nova-compute: nor is anybody asked, or told, anything for it."""
    hosts = hosts_with(tmp_path, method="nova")
    hosts.source.hypervisor.dirty_rate = None
    asked = counted(hosts)

    hosts.go()

    assert (hosts.state(), told(hosts)) == (("host2", "active", None), [])
    assert len(asked()) <= 10


def test_a_forecast_costs_one_call(tmp_path):
    """That of its event."""
    usual, hosts = hosts_with(tmp_path / "nova", method="nova"), hosts_with(tmp_path / "auto")
    before, after = counted(usual), counted(hosts)

    usual.go()
    hosts.go()

    assert sorted(after()) == sorted([*before(), "InstanceActionEvent.create"])


def counted(hosts):
    """The calls of the conductor from now on."""
    with hosts.conductor.database() as tables:
        tables["calls"] = []
    return lambda: list(hosts.conductor.read()["calls"])


# --- killed -------------------------------------------------------------------------------------
def test_it_ends_the_same_wherever_the_agent_is_killed(tmp_path):
    """What was chosen holds, and its event is there."""
    first = hosts_with(tmp_path / "first", 2000, link=1000, live_migration_permit_post_copy=True)
    boundaries = [one for one in first.boundaries() if "forecast_migration" in one]
    assert len(boundaries) > 1
    (text,) = told(first)

    for number, boundary in enumerate(boundaries):
        hosts = hosts_with(tmp_path / str(number), 2000, link=1000,
                           live_migration_permit_post_copy=True)  # fmt: skip
        hosts.killed(boundary)
        hosts.resume()

        assert hosts.state() == ("host2", "active", None), boundary
        assert set(told(hosts)) == {text}, boundary


@pytest.mark.parametrize("told_before", [False, True])
def test_a_kill_beside_the_event(tmp_path, told_before):
    """The guest is not measured again, by which another way might be chosen; the event is written
    once more rather than never."""
    hosts = hosts_with(tmp_path, 2000, link=1000, live_migration_permit_post_copy=True)
    agent = hosts.source.agent(**hosts.parts())
    tell = agent.tools.actions.tell

    def killed(*arguments):
        if told_before:
            tell(*arguments)
        raise Killed

    agent.tools.actions.tell = killed
    with until_killed(60):
        hosts.source.send(agent, "live_migration", **hosts.request())
    hosts.source.hypervisor.dirty_rate = None

    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    assert len(told(hosts)) == 1 + told_before
    assert hosts.source.hypervisor.sent[hosts.server].migration.post_copy


def test_a_kill_while_it_is_measured(tmp_path):
    """Nothing was decided: the guest is measured again, and refused if it must be."""
    hosts = hosts_with(tmp_path, 2000, link=1000)
    fake, measured = hosts.source.hypervisor, hosts.source.hypervisor.dirty_rate

    def killed(uuid, seconds):
        fake.dirty_rate = measured
        raise Killed

    fake.dirty_rate = killed
    agent = hosts.source.agent(**hosts.parts())
    with until_killed(60):
        hosts.source.send(agent, "live_migration", **hosts.request())

    hosts.resume()

    untouched(hosts)
    assert len(hosts.faults()) == 1


def test_a_kill_while_it_is_refused(tmp_path):
    """It ends as a refusal, once."""
    hosts = hosts_with(tmp_path, 2000, link=1000)
    boundaries = hosts.boundaries()

    for number, boundary in enumerate(boundaries):
        again = hosts_with(tmp_path / str(number), 2000, link=1000)
        again.killed(boundary)
        again.resume()

        untouched(again)
        assert again.migration()["status"] == "error", boundary
        assert len(set(again.faults())) == 1, boundary


# --- what comes of it ---------------------------------------------------------------------------


def test_post_copy_begins_after_the_first_pass(tmp_path):
    """Where it is what was chosen."""
    hosts = hosts_with(tmp_path, method="post-copy", live_migration_permit_post_copy=True)
    fake, seen, begun = hosts.source.hypervisor, hosts.source.hypervisor.migration, []
    fake.migration_looks = 3
    fake.migration = lambda uuid: replace(
        seen(uuid), iteration=4 - fake.sent[uuid].looks if uuid in fake.sent else 0
    )
    usual = fake.begin_post_copy
    fake.begin_post_copy = lambda uuid: (begun.append(uuid), usual(uuid))

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert begun == [hosts.server]


@pytest.mark.parametrize("method", ["nova", "auto"])
def test_the_link_is_known_afterwards(tmp_path, method):
    """By the best that the hypervisor told on the way; what is lost or broken is not known."""
    hosts = hosts_with(tmp_path, method=method)
    fake, seen = hosts.source.hypervisor, hosts.source.hypervisor.migration
    fake.migration_looks = 3
    rates = [ASSUMED * 2, ASSUMED * 3, ASSUMED]

    def migration(uuid):
        found = seen(uuid)
        # At the end it is the mean of the whole.
        return replace(found, bandwidth_bytes_s=rates.pop(0) if found.active else ASSUMED * 9)

    fake.migration = migration

    hosts.go()

    path = hosts.source.state / "nova-lite" / "links.json"
    assert LinkSpeeds(path).of("host2") == LinkSpeed(ASSUMED * 3, 1, fresh=True)
    assert LinkSpeeds(path).of("host3") is None
    for broken in ("{", "[]", '{"host2": [7]}', '{"host2": 7}'):
        path.write_text(broken)
        assert LinkSpeeds(path).of("host2") is None


@pytest.mark.parametrize("method", ["post-copy", "auto-converge"])
def test_a_method_that_is_not_permitted(tmp_path, method):
    """Is found at start."""
    options = {
        "DEFAULT": {"state_path": str(tmp_path), "my_ip": "127.0.0.1"},
        "nova_lite": {"live_migration_method": method},
    }
    with pytest.raises(InvalidConfiguration, match="live_migration_permit_"):
        load.check(read_conf(tmp_path, options))
