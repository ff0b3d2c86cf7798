"""Servers with an emulated TPM: whose key it is, where it is, and how long it lives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.errors import VolumeKeyUnavailable
from nova_lite.services import tpm
from tests.fakes.servers import a_server
from tests.unit.operations.host import Host, build_arguments
from tests.unit.operations.resized import Resized
from tests.unit.operations.tpm_keys import stand_in

REBOOT = {"reboot_type": "HARD", "block_device_info": None}


@pytest.fixture
def keys(monkeypatch):
    return stand_in(monkeypatch)


@pytest.fixture
def host(tmp_path, keys):
    """One that offers TPMs, and a request for a server with one."""
    return of_mode(tmp_path)


def of_mode(directory, mode=None):
    made = Host(directory)
    made.conf.set_override("swtpm_enabled", True, group="libvirt")
    specs = {"hw:tpm_secret_security": mode} if mode else {}
    with made.conductor.database() as tables:
        flavor = tables["Instance"][made.server]["flavor"]["nova_object.data"]
        flavor["extra_specs"] = {"hw:tpm_version": "2.0", **specs}
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


PHRASE = b"passphrase vTPM secret for instance "


def test_a_host_keeps_a_key_as_long_as_the_server(tmp_path, keys):
    """Its guest starts for whoever asks, and after the host did; it is gone when the server is."""
    host = of_mode(tmp_path, "host")
    host.boot()
    kept = {host.server: ("k1", PHRASE + host.server.encode())}
    assert secrets(host) == ("k1", kept)
    assert host.hypervisor.kept_tpm_secrets == {host.server}

    keys.refuses = True
    run(host, "reboot_instance", "rebooting_hard", **REBOOT)
    run(host, "stop_instance", "powering-off", clean_shutdown=False)
    run(host, "start_instance", "powering-on")
    assert (host.look()["guest"], host.look()["faults"]) == ("RUNNING", 0)
    assert secrets(host) == ("k1", kept)

    keys.refuses = False
    run(host, "terminate_instance", "deleting", bdms=build_arguments()["block_device_mapping"])
    assert (host.hypervisor.tpm_secrets, keys.kept) == ({}, {})
    assert {whose for _, whose in keys.asked} == {"user"}


def test_a_kept_key_that_is_lost_comes_back_for_its_user_alone(tmp_path, keys):
    """Also where another key is kept under the server's name."""
    host = of_mode(tmp_path, "host")
    host.boot()
    host.hypervisor.tpm_secrets[host.server] = "k9", b"of another key"
    keys.refuses = True
    run(host, "reboot_instance", "rebooting_hard", **REBOOT)
    assert (host.look()["guest"], host.look()["faults"]) == ("RUNNING", 1)

    keys.refuses = False
    host.set(task_state="rebooting_hard")
    host.run("reboot_instance", request="req-again", **REBOOT)
    assert host.hypervisor.tpm_secrets[host.server][0] == "k1"
    assert host.hypervisor.kept_tpm_secrets == {host.server}


def test_a_boot_that_goes_on_elsewhere_keeps_nothing_here(tmp_path, keys):
    """The next host asks for the key itself."""
    host = of_mode(tmp_path, "host")

    def start(uuid, *, paused=False):
        raise VolumeKeyUnavailable("no power")

    host.hypervisor.start = start
    host.run("build_and_run_instance", **build_arguments())

    assert host.hypervisor.tpm_secrets == {}
    assert keys.kept.keys() == {"k1"}


def test_a_key_of_the_compute_service_needs_no_user(tmp_path, keys):
    """It is made, read and deleted by the service; the hypervisor has it while the guest starts."""
    host = of_mode(tmp_path, "deployment")
    keys.refuses = True  # users
    host.boot()
    assert secrets(host) == ("k1", {})
    run(host, "stop_instance", "powering-off", clean_shutdown=False)
    run(host, "start_instance", "powering-on")
    assert (host.look()["guest"], host.look()["faults"]) == ("RUNNING", 0)
    assert secrets(host) == ("k1", {})

    run(host, "terminate_instance", "deleting", bdms=build_arguments()["block_device_mapping"])
    assert keys.kept == {}
    assert {whose for _, whose in keys.asked} == {"service"}


@pytest.mark.parametrize("mode", ["user", "host", "deployment"])
def test_whose_keys_a_host_does_not_keep_it_refuses(tmp_path, keys, mode):
    """By the name of what the flavor asks for; the next host may."""
    host = of_mode(tmp_path, mode)
    others = [other for other in ("user", "host", "deployment") if other != mode]
    host.conf.set_override("supported_tpm_secret_security", others, group="libvirt")

    host.run("build_and_run_instance", **build_arguments(retry=False))

    assert host.look()["guest"] is None
    assert keys.asked == []
    faults = [row["message"] for row in host.conductor.read()["InstanceFault"].values()]
    assert any(f"hw:tpm_secret_security = {mode}" in fault for fault in faults)


# --- resizes ------------------------------------------------------------------------------------
def resized(directory, mode, *, old=True, new=True, **more):
    """A server after a resize, whose old or new flavor wants a TPM; its user may do anything."""
    made = Resized(directory, **more)
    made.conf.set_override("swtpm_enabled", True, group="libvirt")
    specs = {"hw:tpm_version": "2.0", "hw:tpm_secret_security": mode}
    row = made.conductor.instance(made.server)
    for name, wanted in (("old_flavor", old), ("flavor", new), ("new_flavor", new)):
        row[name]["nova_object.data"]["extra_specs"] = specs if wanted else {}
    made.set(
        system_metadata={**row["system_metadata"], "vtpm_secret_uuid": "k1"},
        **{name: row[name] for name in ("old_flavor", "flavor", "new_flavor")},
    )
    made.hypervisor.set_tpm_secret(made.server, "k1", b"open", kept=True)
    return made


@pytest.mark.parametrize("mode", ["host", "deployment"])
@pytest.mark.parametrize("new", [True, False])
def test_a_confirmed_move_leaves_no_passphrase(tmp_path, keys, mode, new):
    """And no key, where the new flavor has no TPM any more: as stock has it."""
    keys.kept["k1"] = b"open"
    host = resized(tmp_path, mode, new=new)

    host.ask("confirm_resize")

    assert host.migration()["status"] == "confirmed"
    assert host.hypervisor.tpm_secrets == {}
    assert keys.kept.keys() == ({"k1"} if new else set())
    assert ("vtpm_secret_uuid" in metadata(host)) is new
    whose = "user" if mode == "host" else "service"
    assert keys.asked == ([] if new else [("delete", whose)])


def test_a_key_that_may_not_be_deleted_stays_noted(tmp_path, keys):
    """A resize that is confirmed by nobody in person; the server's end takes it."""
    keys.kept["k1"], keys.refuses = b"open", True
    host = resized(tmp_path, "host", new=False, dest="host1")

    host.ask("confirm_resize")

    assert host.migration()["status"] == "confirmed"
    assert metadata(host)["vtpm_secret_uuid"] == "k1"
    assert host.hypervisor.tpm_secrets == {}


def test_a_server_that_goes_back_leaves_no_passphrase(tmp_path, keys):
    """The host that it goes back to has its own."""
    host = resized(
        tmp_path, "host", source="host2", dest="host1", status="reverting",
        task_state="resize_reverting",
    )  # fmt: skip
    host.ask("revert_resize")
    assert (host.hypervisor.guests, host.hypervisor.tpm_secrets) == ({}, {})
    assert keys.asked == []


@pytest.mark.parametrize("old", [True, False])
def test_a_server_that_is_back_starts_with_what_was_kept(tmp_path, keys, old):
    """Nobody is asked; a key that only the new flavor wanted is deleted."""
    keys.kept["k1"], keys.refuses = b"open", old
    host = resized(tmp_path, "host", old=old, status="reverted", task_state="resize_reverting")

    host.ask("finish_revert_resize")

    assert host.row()[:3] == ("host1", "active", None)
    assert host.hypervisor.guests[host.server].state.name == "RUNNING"
    assert keys.asked == ([] if old else [("delete", "user")])
    assert ("vtpm_secret_uuid" in metadata(host)) is old
    assert bool(host.hypervisor.kept_tpm_secrets) is old
