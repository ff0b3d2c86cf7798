"""Servers with an emulated TPM: whose key it is, where it is, and how long it lives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.clients.key_manager import KeyManager
from nova_lite.errors import VolumeKeyUnavailable
from nova_lite.services import tpm
from tests.fakes.servers import a_server
from tests.unit.operations.host import Host, build_arguments

REBOOT = {"reboot_type": "HARD", "block_device_info": None}


class Keys:
    """The key manager, in place of the real one's methods; ``refuses`` some requests."""

    def __init__(self):
        self.kept, self.made, self.refuses = {}, 0, False
        self.asked = []  # (method, whose key)

    def create(self, context, name, *, own=False):
        self._answer("create", own)
        self.made += 1
        self.kept[f"k{self.made}"] = f"passphrase {name}".encode()
        return f"k{self.made}"

    def secret(self, context, key_id, *, own=False):
        self._answer("secret", own)
        return self.kept[key_id]

    def delete(self, context, key_id, *, own=False):
        self._answer("delete", own)
        self.kept.pop(key_id, None)

    def _answer(self, method, own):
        self.asked.append((method, "service" if own else "user"))
        if self.refuses:
            raise VolumeKeyUnavailable("no key k1 from it: Forbidden")


@pytest.fixture
def keys(monkeypatch):
    made = Keys()
    for name in ("create", "secret", "delete"):
        ask = getattr(made, name)
        monkeypatch.setattr(
            KeyManager, name, lambda self, *given, ask=ask, **more: ask(*given, **more)
        )
    return made


@pytest.fixture
def host(tmp_path, keys):
    """One that offers TPMs, and a request for a server with one."""
    made = Host(tmp_path)
    made.conf.set_override("swtpm_enabled", True, group="libvirt")
    with made.conductor.database() as tables:
        flavor = tables["Instance"][made.server]["flavor"]["nova_object.data"]
        flavor["extra_specs"] = {"hw:tpm_version": "2.0"}
    return made


def metadata(host):
    return host.conductor.read()["Instance"][host.server]["system_metadata"]


def run(host, method, task, **arguments):
    host.set(task_state=task)
    host.run(method, request=f"req-{method}-{task}", **arguments)


def secrets(host):
    """(secret of the definition, secrets that the hypervisor has)"""
    return host.hypervisor.guests[host.server].spec.tpm_secret, host.hypervisor.tpm_secrets


def test_a_boot_makes_the_key(host, keys):
    """Where nova-compute keeps it; the hypervisor has it only while the guest starts."""
    host.boot()

    assert metadata(host)["vtpm_secret_uuid"] == "k1"
    assert keys.kept == {"k1": f"passphrase vTPM secret for instance {host.server}".encode()}
    assert secrets(host) == ("k1", {})
    assert host.hypervisor.guests[host.server].spec.tpm == ("tpm-tis", "2.0")
    assert host.look()["guest"] == "RUNNING"


def test_every_start_asks_for_the_same_key(host, keys):
    """Also of memory that was saved."""
    host.boot()
    run(host, "reboot_instance", "rebooting_hard", **REBOOT)
    assert host.look()["guest"] == "RUNNING"
    run(host, "stop_instance", "powering-off", clean_shutdown=False)
    run(host, "start_instance", "powering-on")
    assert host.look()["guest"] == "RUNNING"
    run(host, "suspend_instance", "suspending")
    run(host, "resume_instance", "resuming")

    assert host.look()["guest"] == "RUNNING"
    assert host.look()["faults"] == 0
    assert keys.made == 1
    assert secrets(host) == ("k1", {})


def test_who_has_no_right_to_the_key_starts_nothing(host, keys):
    """The fault says whose the key is; nothing of the server is lost."""
    host.boot()
    run(host, "stop_instance", "powering-off", clean_shutdown=False)
    keys.refuses = True

    run(host, "start_instance", "powering-on")

    found = host.look()
    assert (found["vm_state"], found["guest"], found["faults"]) == ("stopped", "SHUTDOWN", 1)
    assert keys.kept.keys() == {"k1"}
    keys.refuses = False
    host.set(task_state="powering-on")
    host.run("start_instance", request="req-again")
    assert host.look()["guest"] == "RUNNING"


def test_a_key_manager_that_takes_no_key_is_this_hosts_fault(host, keys):
    """The next host may have another; nothing is left here."""
    keys.refuses = True

    host.run("build_and_run_instance", **build_arguments())

    assert host.look()["casts"] == ["build_instances"]
    assert (host.look()["guest"], host.look()["files"]) == (None, [])


def test_a_boot_that_goes_to_the_next_host_hands_the_key_on(host, keys):
    """That finds it in the records, and makes no second one."""

    def start(uuid, *, paused=False):
        raise VolumeKeyUnavailable("no power")

    host.hypervisor.start = start
    host.run("build_and_run_instance", **build_arguments())

    assert metadata(host)["vtpm_secret_uuid"] == "k1"
    assert keys.kept.keys() == {"k1"}
    assert host.hypervisor.tpm_secrets == {}


@pytest.mark.parametrize("refuses", [False, True])
def test_the_key_ends_with_the_server(host, keys, refuses):
    """An administrator's delete leaves it, and is a delete all the same."""
    host.boot()
    keys.refuses = refuses
    host.hypervisor.tpm_secrets[host.server] = "k1", b"of a start that was cut off"

    run(host, "terminate_instance", "deleting", bdms=build_arguments()["block_device_mapping"])

    assert host.look()["deleted"]
    assert host.hypervisor.tpm_secrets == {}
    assert keys.kept.keys() == ({"k1"} if refuses else set())


def test_the_power_fails_in_a_boot(host, keys):
    """A key that was made is used by the process that goes on."""
    host.power_fails(
        "build_and_run_instance:define_guest:begin", "build_and_run_instance", **build_arguments()
    )
    host.resume()

    assert host.look()["guest"] == "RUNNING"
    assert metadata(host)["vtpm_secret_uuid"] in keys.kept
    assert len(keys.kept) == 1


def test_a_guest_is_not_powered_off_by_who_cannot_start_it_again(host, keys):
    """An administrator's hard reboot would end in ERROR; the guest runs on."""
    host.boot()
    keys.refuses = True
    host.hypervisor.calls.clear()

    run(host, "reboot_instance", "rebooting_hard", **REBOOT)

    assert "destroy" not in [method for method, _ in host.hypervisor.calls]
    found = host.look()
    assert (found["vm_state"], found["guest"], found["faults"]) == ("active", "RUNNING", 1)


def test_a_running_guest_needs_no_key(host, keys):
    """A start that was cut off after the guest ran goes on without it."""
    host.boot()
    keys.refuses = True
    work = SimpleNamespace(
        tools=host.agent().tools, uuid=host.server, context=None,
        instance={"system_metadata": metadata(host)},
        server=a_server(specs={"hw:tpm_version": "2.0"}),
    )  # fmt: skip

    with tpm.unlocked(work):
        assert host.hypervisor.tpm_secrets == {}
