"""Both hosts of a live migration with their real operations: what one tells, the other reads."""

from __future__ import annotations

import copy
import json

import pytest

from nova_lite.conductor.instances import Instances
from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.rpc import endpoint
from nova_lite.services import migrate_data
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, unwrap, wrap
from tests.unit.operations.host import ATTACHMENT, VOLUME
from tests.unit.operations.live import VERBS, LiveHosts

REQUEST = "req-1"  # of all messages of one migration
CHECK = "check_can_live_migrate_destination"
TARGET = (
    "pre_live_migration", "post_live_migration_at_destination",
    "rollback_live_migration_at_destination", "remove_volume_connection",
)  # fmt: skip


@pytest.fixture(autouse=True)
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


class Both(LiveHosts):
    """``killed_in``: boundaries of the target at which its process ends once."""

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.told = []
        answers = {method: self._asked(self.dest, method) for method in TARGET}
        self.peers.answers["host2"].update(answers)
        method = "check_can_live_migrate_source"
        self.peers.answers["host1"] = {method: self._asked(self.source, method)}
        with self.ledger.open() as content:
            content["beside"] = {}
        self.checked = None

    def _asked(self, host, method):
        def carry_out(arguments):
            self.told.append(method)
            plain = {name: copy.deepcopy(unwrap(value)) for name, value in arguments.items()
                     if name != "instance"}  # fmt: skip
            return wrap(self.carry_out(host, method, **plain))

        return carry_out

    def carry_out(self, host, method, **arguments):
        agent = host.agent(**self.parts())
        self.agents[f"{host.conf.host} {method}"] = agent
        instance = Instances(self.conductor).get(RequestContext.admin(), self.server)
        asked = {"instance": instance, **wrap(arguments)}
        context = RequestContext({"request_id": REQUEST})
        entry = agent.engine.accept(method, context, self.server, asked)
        if entry is None:
            return agent.engine.answer_to(method, context, self.server, asked).result(30)
        agent.engine.start(entry)
        assert agent.engine.settle(60)
        return entry.answer.result(0)

    def data(self):
        """After a real check, with what the conductor puts in."""
        if self.checked is None:
            migration = WireObject.new("Migration", "1.8", **self.migration())
            migration.clear_changes()
            data = wrap(self.carry_out(
                self.dest, CHECK, block_migration=None, disk_over_commit=None,
                migration=unwrap(migration), limits=None,
            ))  # fmt: skip
            with self.ledger.open() as content:
                for vif in data["vifs"]:
                    vif.set(vif_type="ovs", vnic_type="normal", vif_details_json="{}",
                            profile_json="{}")  # fmt: skip
                    content["beside"][vif["port_id"]] = ["host2"]
            self.checked = data
        return self.checked

    def request(self):
        data = self.data()
        with self.ledger.open() as content:  # no event comes
            content.setdefault("ports_stay_down", False)
        return {
            "dest": "host2", "block_migration": migrate_data.copies_disks(data),
            "migration": self._migration(), "migrate_data": unwrap(data),
        }  # fmt: skip


@pytest.fixture(params=["copied", "shared"])
def hosts(tmp_path, request):
    made = Both(tmp_path, volume=True)
    for host in (made.source, made.dest):
        host.conf.set_override("live_migration_wait_for_vif_plug", False, "compute")
    if request.param == "shared":
        made.dest.conf.set_override("instances_path", str(made.instances(made.source)))
    return made


def test_a_server_goes_from_one_host_to_the_other(hosts):
    """By what both of them really say."""
    copied = migrate_data.copies_disks(hosts.data())

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.guest(hosts.source), hosts.guest(hosts.dest)) == (None, "RUNNING")
    assert hosts.migration()["status"] == "completed"
    seen = hosts.look()
    assert (seen["bound"], seen["beside"], seen["faults"]) == (["host2"], {}, [])
    assert seen["cinder"] == [("attached", "host2")]
    assert seen["allocations"] == {"server": {"host2": {"VCPU": 1}}}
    there = hosts.source if not copied else hosts.dest
    assert hosts.files(there) == ["server/disk", "server/disk.config", "server/disk.info"]
    assert (seen["host1"]["taps"], seen["host2"]["taps"]) == (0, 1)
    assert (hosts.connected(hosts.source), hosts.connected(hosts.dest)) == ([], [VOLUME])
    assert [seen[name]["journal"] for name in ("host1", "host2")] == [[], []]
    spec = hosts.dest.hypervisor.guests[hosts.server].spec
    (volume,) = [disk for disk in spec.disks if disk.serial]
    assert volume.source == json.loads(hosts.mapping()["connection_info"])["data"]["device_path"]


def test_a_server_that_does_not_go_is_as_before(hosts):
    """And nothing of it is on the other host."""
    before = hosts.look()
    hosts.data()
    hosts.source.hypervisor.migration_error = "no route to host"

    hosts.go()

    after = hosts.look()
    assert hosts.state() == ("host1", "active", None)
    assert hosts.mapping()["attachment_id"] == ATTACHMENT
    assert hosts.guest(hosts.source) == "RUNNING"
    assert hosts.migration()["status"] == "failed"
    for name in ("bound", "beside", "cinder", "host1"):
        assert after[name] == before[name], name
    assert after["host2"]["files"] == before["host2"]["files"]
    assert (after["host2"]["guest"], after["host2"]["journal"]) == (None, [])
    assert hosts.connected(hosts.dest) == []


def test_a_target_that_cannot_be_prepared_is_left_as_it_was(hosts):
    """The server's fault has the reason."""
    hosts.data()
    hosts.dest.vifs.unknown.update(hosts.ledger.read()["ports"])

    hosts.go()

    assert hosts.state() == ("host1", "active", None)
    seen = hosts.look()
    assert seen["cinder"] == [("attached", "host1")]
    assert (seen["host2"]["taps"], seen["host2"]["guest"]) == (0, None)
    assert hosts.connected(hosts.dest) == []
    assert any("vif_type 'ovs' is not supported" in fault for fault in hosts.faults())


def test_a_source_that_was_killed_asks_again(hosts):
    """Before it had the answer, and after: the other host prepares once."""
    boundary = "live_migration:prepare_target:end"
    hosts.data()
    hosts.killed(boundary)
    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.told.count("pre_live_migration") == 1
    assert hosts.look()["cinder"] == [("attached", "host2")]


def test_a_guest_of_which_the_target_cannot_tell_stays_recorded_once(hosts):
    """The hypervisor of the target fails at the end: the record comes to name it all the same."""
    hosts.data()
    hosts.dest.hypervisor.fail("define", HypervisorError("broken on purpose"))

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.guest(hosts.dest) == "RUNNING"
