"""A server with an emulated TPM goes to another host and runs: what opens the TPM goes its way."""

from __future__ import annotations

import copy
import logging

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.failures import OperationFailed
from nova_lite.rpc import endpoint
from nova_lite.services import migrate_data
from nova_lite.wire.objects import unwrap, wrap
from tests.unit.operations.live import VERBS
from tests.unit.operations.live_hosts import PRE
from tests.unit.operations.live_hosts import LiveHosts as TargetHosts
from tests.unit.operations.test_live_both import Both
from tests.unit.operations.test_live_target_kills import cut_off
from tests.unit.operations.tpm_keys import stand_in

pytestmark = pytest.mark.usefixtures("agents", "keys")
KEY = "k1"


@pytest.fixture
def keys(monkeypatch):
    return stand_in(monkeypatch)


@pytest.fixture
def agents(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(endpoint, "VERBS", VERBS)


def offer(host):
    host.conf.set_override("swtpm_enabled", True, group="libvirt")
    host.conf.set_override("live_migration_wait_for_vif_plug", False, "compute")


class WithTpm(Both):
    def __init__(self, directory, mode):
        specs = {"hw:tpm_version": "2.0", "hw:tpm_secret_security": mode}
        super().__init__(
            directory, old={"extra_specs": specs}, conf=[("host1", {}), ("host2", {})]
        )
        self.source.hypervisor.tpm_states[self.server] = b"what it knows"

    @staticmethod
    def _configure(host, options):
        offer(host)

    @property
    def phrase(self):
        return f"passphrase vTPM secret for instance {self.server}".encode()

    def secrets(self, host):
        """(what the hypervisor has for the server, whether it keeps that)"""
        hypervisor = host.hypervisor
        return (
            hypervisor.tpm_secrets.get(self.server), self.server in hypervisor.kept_tpm_secrets
        )  # fmt: skip

    def told_of(self, method):
        """The migrate_data of the last message with that method."""
        (*_, found) = [args for _, name, args in self.peers.sent if name == method]
        return wrap(found["migrate_data"])

    def on_disk(self, text):
        """Files of both hosts in which it is, but for what would be in memory."""
        return [
            path
            for host in (self.source, self.dest)
            for path in host.state.rglob("*")
            if path.is_file() and path.suffix != ".secrets" and text in path.read_bytes()
        ]


@pytest.fixture(params=["host", "deployment"])
def hosts(request, tmp_path):
    return WithTpm(tmp_path, request.param)


@pytest.fixture
def of_host(tmp_path):
    return WithTpm(tmp_path, "host")


@pytest.fixture
def of_deployment(tmp_path):
    return WithTpm(tmp_path, "deployment")


NOTHING = (None, False)


def goes_on_here(hosts):
    """The server does, and the other host has nothing of its TPM."""
    assert hosts.state() == ("host1", "active", None)
    assert hosts.guest(hosts.source) == "RUNNING"
    assert hosts.secrets(hosts.dest) == NOTHING
    assert hosts.dest.hypervisor.tpm_states == {}


def test_what_a_host_keeps_goes_with_the_server(of_host, keys, caplog):
    """Who migrates it may not ask for the key; nothing is left behind, and nothing told."""
    caplog.set_level(logging.DEBUG)
    hosts, keys.refuses = of_host, True
    kept = ((KEY, hosts.phrase), True)
    assert hosts.secrets(hosts.source) == kept

    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.secrets(hosts.source), hosts.secrets(hosts.dest)) == (NOTHING, kept)
    assert hosts.dest.hypervisor.tpm_states == {hosts.server: b"what it knows"}
    assert hosts.faults() == []
    assert hosts.on_disk(hosts.phrase) == []
    assert hosts.phrase.decode() not in caplog.text
    assert list(hosts.source.state.rglob("*.secrets")) == []
    assert list(hosts.dest.state.rglob("*.secrets")) == []


def test_a_key_of_the_compute_service_is_sent_by_nobody(of_deployment, keys):
    """The other host asks for it, and its hypervisor forgets it when the guest runs."""
    hosts, keys.refuses = of_deployment, True
    keys.asked.clear()
    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert (hosts.secrets(hosts.source), hosts.secrets(hosts.dest)) == (NOTHING, NOTHING)
    assert keys.asked == [("secret", "service")]
    told = hosts.told_of("pre_live_migration")
    assert told.version == "1.14"
    assert {name: told.data[name] for name in ("vtpm_secret_uuid", "vtpm_secret_value")} == {
        "vtpm_secret_uuid": None, "vtpm_secret_value": None
    }  # fmt: skip
    assert hosts.faults() == []


def test_a_key_of_the_user_stays(tmp_path):
    """Who has no right to it cannot open the TPM anywhere."""
    hosts = WithTpm(tmp_path, "user")
    with pytest.raises(OperationFailed, match="key is its user's"):
        hosts.data()
    assert "check_can_live_migrate_source" not in hosts.told
    asked = unwrap(migrate_data.new(tpm=True, filename="x"))  # as a stock host asks
    with pytest.raises(OperationFailed, match="key is its user's"):
        hosts.carry_out(hosts.source, "check_can_live_migrate_source", dest_check_data=asked)
    assert hosts.secrets(hosts.source) == hosts.secrets(hosts.dest) == NOTHING


def test_a_server_that_does_not_go_leaves_nothing_there(hosts):
    """What this host keeps it still keeps; the message that gives up has no passphrase."""
    before = hosts.secrets(hosts.source)
    hosts.data()
    hosts.source.hypervisor.migration_error = "no route to host"

    hosts.go()

    goes_on_here(hosts)
    assert hosts.secrets(hosts.source) == before
    assert hosts.told_of("rollback_live_migration_at_destination").get("vtpm_secret_value") is None


def test_a_host_that_cannot_be_prepared_keeps_nothing(hosts):
    """Also where it fails beside the step that has unlocked the TPM."""
    hosts.data()
    hosts.dest.vifs.unknown.update(hosts.ledger.read()["ports"])

    hosts.go()

    goes_on_here(hosts)
    told = hosts.told_of("rollback_live_migration_at_destination")
    assert told.get("vtpm_secret_value") is None


@pytest.mark.parametrize("old", ["host1", "host2"])
def test_a_host_of_an_older_release_neither_gets_nor_gives(hosts, old):
    """It would drop what opens the TPM."""
    hosts.peers.services[old] = 71
    with pytest.raises(OperationFailed, match=f"host {old} is of an older release"):
        hosts.data()


def test_a_control_plane_of_an_older_release_is_told_nothing(of_host):
    """Its objects lose the fields on their way."""
    hosts, asked = of_host, copy.deepcopy(unwrap(migrate_data.new(filename="x")))
    with pytest.raises(OperationFailed, match="control plane, is of an older release"):
        hosts.carry_out(hosts.source, "check_can_live_migrate_source", dest_check_data=asked)


def test_a_passphrase_that_a_host_has_lost_its_user_brings_back(of_host):
    """The check says how, before anything is begun."""
    of_host.source.hypervisor.forget_tpm_secret(of_host.server)
    with pytest.raises(OperationFailed, match="reboot it hard"):
        of_host.data()


def test_other_servers_go_as_before(tmp_path):
    """With an object that all releases know, and without anything about TPMs."""
    hosts = Both(tmp_path, conf=[("host1", {}), ("host2", {})])
    for host in (hosts.source, hosts.dest):
        offer(host)
    data = hosts.data()
    assert data.version == "1.13"
    assert not [name for name in data.data if "tpm" in name]


@pytest.mark.parametrize("boundary", ["prepare_target:begin", "await_turn:begin"])
def test_a_source_that_lost_the_message_sends_what_it_keeps(of_host, boundary):
    """Its hypervisor has it: a journal never had."""
    hosts = of_host
    hosts.data()
    hosts.killed(f"live_migration:{boundary}")
    for path in hosts.source.state.rglob("*.secrets"):
        path.unlink()
    assert hosts.on_disk(hosts.phrase) == []
    hosts.resume()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.secrets(hosts.dest) == ((KEY, hosts.phrase), True)


def test_what_a_check_answered_once_is_not_needed(of_host):
    """The answer that is remembered has no passphrase, and the conductor's message neither then."""
    hosts = of_host
    migrate_data.drop_tpm_secret(hosts.data())
    hosts.go()

    assert hosts.state() == ("host2", "active", None)
    assert hosts.secrets(hosts.dest) == ((KEY, hosts.phrase), True)


# --- the host that gets it, alone ---------------------------------------------------------------
class Target(TargetHosts):
    """After a boot on the other host, of a server with such a TPM."""

    def __init__(self, directory, mode):
        super().__init__(directory)
        for host in (self.source, self.dest):
            offer(host)
        flavor = self.row("flavor")
        flavor["nova_object.data"]["extra_specs"] = {
            "hw:tpm_version": "2.0", "hw:tpm_secret_security": mode
        }  # fmt: skip
        self.set(flavor=flavor, system_metadata={**self.row("system_metadata"),
                                                 "vtpm_secret_uuid": KEY})  # fmt: skip
        if mode == "host":
            self.source.hypervisor.set_tpm_secret(self.server, KEY, b"open", kept=True)

    def secrets(self):
        return self.dest.hypervisor.tpm_secrets


@pytest.mark.parametrize("mode", ["host", "deployment"])
@pytest.mark.parametrize("boundary", ["begin", "end"])
def test_a_target_that_is_killed_goes_on(tmp_path, keys, mode, boundary):
    """With the passphrase of the message, or of the key manager; its answer has none."""
    keys.kept[KEY] = b"open"
    hosts = Target(tmp_path, mode)
    asked = hosts.checked()
    cut_off(hosts, "killed", f"{PRE}:unlock_arriving:{boundary}", PRE, asked)
    assert hosts.secrets() == {hosts.server: (KEY, b"open")}
    assert bool(hosts.dest.hypervisor.kept_tpm_secrets) is (mode == "host")

    again = hosts.pre(asked, request="req-1")
    assert "vtpm_secret_value" in again and again.get("vtpm_secret_value") is None
    hosts.arrive()
    hosts.post()
    assert hosts.state()[0] == "host2"
    assert hosts.secrets() == ({hosts.server: (KEY, b"open")} if mode == "host" else {})


@pytest.mark.parametrize("boundary", ["begin", "end"])
def test_a_target_whose_power_failed_has_it_on_disk_or_gives_up(tmp_path, boundary):
    """The message's passphrase was in memory; nothing half-made stays."""
    hosts = Target(tmp_path, "host")
    asked = hosts.checked()
    cut_off(hosts, "power_fails", f"{PRE}:unlock_arriving:{boundary}", PRE, asked)

    if boundary == "end":
        assert hosts.secrets() == {hosts.server: (KEY, b"open")}
        assert hosts.faults() == []
        hosts.rollback(asked["migrate_data"], request="req-1")
    else:
        assert any("lost it in a power failure" in fault for fault in hosts.faults())
    assert hosts.secrets() == {}
    assert hosts.files(hosts.dest) == []


@pytest.mark.parametrize("mode", ["host", "deployment"])
def test_a_rollback_that_is_late_takes_nothing(tmp_path, keys, mode):
    """A guest that runs here keeps what this host is to keep."""
    keys.kept[KEY] = b"open"
    hosts = Target(tmp_path, mode)
    asked = hosts.checked()
    hosts.pre(asked, request="req-1")
    hosts.arrive()
    with pytest.raises(OperationFailed, match="keeps what it uses there"):
        hosts.rollback(asked["migrate_data"], request="req-1")
    assert hosts.guest(hosts.dest) == "RUNNING"
    assert hosts.secrets() == {hosts.server: (KEY, b"open")}


def test_what_a_stock_host_sends_is_understood(tmp_path):
    """It adds to an object of any version, and leaves out what it does not set."""
    hosts = Target(tmp_path, "host")
    asked = hosts.checked()
    fields = asked["migrate_data"]["nova_object.data"]
    assert fields["vtpm_secret_uuid"] == KEY and fields["vtpm_secret_value"] == "open"
    asked["migrate_data"]["nova_object.version"] = "1.13"
    hosts.pre(asked)
    assert hosts.secrets() == {hosts.server: (KEY, b"open")}


def test_an_answer_has_no_passphrase(tmp_path):
    """Who asked knows it; that there is a TPM stays, for stock to clean up."""
    hosts = Target(tmp_path, "host")
    answer = hosts.pre(hosts.checked())
    assert (answer["vtpm_secret_uuid"], answer["vtpm_secret_value"]) == (KEY, None)


@pytest.mark.parametrize("mode", ["host", "deployment"])
def test_what_fails_beside_takes_it_back(tmp_path, keys, mode):
    """Before anybody sends a message that gives up."""
    keys.kept[KEY] = b"open"
    hosts = Target(tmp_path, mode)
    asked = hosts.checked()
    hosts.dest.vifs.unknown.update(hosts.ledger.read()["ports"])
    with pytest.raises(OperationFailed, match="vif_type"):
        hosts.pre(asked)
    assert hosts.secrets() == {}
    assert ("set_tpm_secret", hosts.server) in hosts.dest.hypervisor.calls


def test_a_live_migration_that_nobody_gave_up_leaves_nothing(tmp_path):
    """The host that was to get the server finds out by itself."""
    hosts = Target(tmp_path, "host")
    hosts.pre(hosts.checked())
    assert hosts.secrets() != {}
    with hosts.conductor.database() as tables:
        tables["Migration"]["7"]["status"] = "error"
    hosts.set(task_state=None)
    hosts.ask(hosts.dest, "remove_partial")
    assert (hosts.secrets(), hosts.files(hosts.dest)) == ({}, [])
