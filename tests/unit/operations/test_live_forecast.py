"""A live migration is carried out as its forecast says, and not begun where it would not end."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from nova_lite.conf import load
from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError, InvalidConfiguration
from nova_lite.rpc import endpoint
from nova_lite.services.link_speeds import LinkSpeeds
from nova_lite.services.live_forecast import ASSUMED, MIB
from tests.fakes.conf_file import read_conf
from tests.unit.operations.live import VERBS, LiveHosts

PERMITS = ("live_migration_permit_auto_converge", "live_migration_permit_post_copy")


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def hosts_with(directory, writes=0, method="auto", link=0, **libvirt):
    """``writes`` in MiB/s; ``link``, too, as earlier migrations told it."""
    hosts = LiveHosts(directory, shared=True, old={"memory_mb": 4096})
    hosts.source.conf.set_override("live_migration_method", method, "nova_lite")
    for name, value in libvirt.items():
        hosts.source.conf.set_override(name, value, "libvirt")
    hosts.source.hypervisor.dirty_rates[hosts.server] = writes * MIB
    if link:
        LinkSpeeds(hosts.source.state / "nova-lite" / "links.json").add("host2", link * MIB)
    return hosts


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
    assert "forecast: pre-copy" in caplog.text
    assert not hosts.source.hypervisor.sent[hosts.server].migration.auto_converge


def test_a_writer_is_slowed_down_where_that_is_permitted(tmp_path):
    """Also where post-copy is at hand."""
    hosts = hosts_with(tmp_path, 2000, link=1000, **dict.fromkeys(PERMITS, True))

    hosts.go()

    assert told(hosts)[0].startswith("auto-converge takes ")
    assert hosts.source.hypervisor.sent[hosts.server].migration.auto_converge


def test_a_guest_that_would_not_arrive_is_refused(tmp_path):
    """Before anything is prepared; the fault has the figures."""
    hosts = hosts_with(tmp_path, 2000, link=1000)

    hosts.go()

    assert hosts.prepared == 0
    assert hosts.source.hypervisor.sent == {}
    assert hosts.state() == ("host1", "active", None)
    assert hosts.migration()["status"] == "error"
    assert "2000 MiB/s, the link takes 1000 MiB/s" in hosts.faults()[0]
    assert told(hosts) == []
    assert hosts.look()["allocations"] == {"server": {"host1": {"VCPU": 1}}}


@pytest.mark.parametrize(
    ("link", "options"),
    [(0, {}), (1000, {"live_migration_timeout_action": "force_complete"})],
    ids=["assumed", "forced"],
)
def test_what_is_not_certain_is_tried(tmp_path, link, options):
    """An assumed link refuses nobody, and a migration may be forced to its end."""
    hosts = hosts_with(tmp_path, 2000, link=link, **options)

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert "it would not end" in told(hosts)[0]


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
    """As nova-compute."""
    hosts = hosts_with(tmp_path, method="nova")
    hosts.source.hypervisor.dirty_rate = None

    hosts.go()

    assert (hosts.state(), told(hosts)) == (("host2", "active", None), [])


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


def test_the_link_is_known_afterwards(tmp_path):
    """By what the hypervisor told; what is lost or broken is not known."""
    hosts = hosts_with(tmp_path)
    fake, seen = hosts.source.hypervisor, hosts.source.hypervisor.migration
    fake.migration = lambda uuid: replace(seen(uuid), bandwidth_bytes_s=ASSUMED * 3)

    hosts.go()

    path = hosts.source.state / "nova-lite" / "links.json"
    assert LinkSpeeds(path).of("host2") == [ASSUMED * 3]
    assert LinkSpeeds(path).of("host3") == []
    path.write_text("{")
    assert LinkSpeeds(path).of("host2") == []


@pytest.mark.parametrize("method", ["post-copy", "auto-converge"])
def test_a_method_that_is_not_permitted(tmp_path, method):
    """Is found at start."""
    options = {
        "DEFAULT": {"state_path": str(tmp_path), "my_ip": "127.0.0.1"},
        "nova_lite": {"live_migration_method": method},
    }
    with pytest.raises(InvalidConfiguration, match="live_migration_permit_"):
        load.check(read_conf(tmp_path, options))
