"""Passwords, files and tokens outlive the process; without them, after a power failure, each verb
ends as it should."""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from nova_lite.services import config_drive
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap, wrap
from tests.unit.operations.host import Host, build_arguments
from tests.unit.operations.test_power_failures import REBUILD, RESCUE, refuse_to_start

BOOT = "build_and_run_instance"
SECRET = "hush-Korrekt-Pferd"
FILES = [["/etc/motd", "aGVsbG8="]]


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def drives(monkeypatch):
    """What was to be written to config drives."""
    written = []
    make = config_drive.content.drive_files
    monkeypatch.setattr(
        config_drive.content, "drive_files",
        lambda data, seed: written.append(data) or make(data, seed),
    )  # fmt: skip
    return written


def faults(host):
    return [row["message"] for row in host.conductor.read().get("InstanceFault", {}).values()]


def on_disk(host):
    """Everything in the journal's directory."""
    return "".join(path.read_text() for path in host.journal.rglob("*") if path.is_file())


@pytest.mark.parametrize("boundary", ["accepted", "take_server:end", "define_guest:end"])
def test_a_boot_that_is_killed_has_its_password(host, drives, boundary):
    """It is not on disk, and gone from memory in the end."""
    arguments = {**build_arguments(password=SECRET), "injected_files": FILES}
    host.killed(f"{BOOT}:{boundary}", BOOT, **arguments)
    assert SECRET not in on_disk(host)

    host.resume()

    assert host.look()["vm_state"] == "active"
    assert (drives[-1].admin_password, drives[-1].files) == (SECRET, (("/etc/motd", b"hello"),))
    assert SECRET not in on_disk(host)
    runtime = host.state / "run"
    assert [path for path in runtime.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("boundary", ["accepted", "take_server:end", "define_guest:end"])
@pytest.mark.parametrize("secrets", [{"admin_password": SECRET}, {"injected_files": FILES}])
def test_a_boot_without_them_ends_in_error(host, boundary, secrets):
    """Its user asks again; nothing of it is left, and no other host builds it without them."""
    host.power_fails(f"{BOOT}:{boundary}", BOOT, **{**build_arguments(), **secrets})

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["casts"]) == ("error", None, [])
    assert (seen["ports"], seen["taps"], seen["files"], seen["guest"]) == (0, 0, [], None)
    assert (seen["allocations"], seen["journal"]) == (None, [])
    (fault,) = faults(host)
    assert "lost power" in fault and "ask again" in fault and SECRET not in fault


def test_a_boot_that_its_user_has_seen_is_over(host):
    """The drive is made, and the server is active."""
    host.power_fails(f"{BOOT}:report_active:end", BOOT, **build_arguments(password=SECRET))

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["faults"], seen["ports"]) == ("active", 0, 1)


def test_a_drive_that_is_whole_needs_no_password(host):
    """Only what is not made yet does."""
    host.power_fails(f"{BOOT}:start_guest:end", BOOT, **build_arguments(password=SECRET))

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["faults"], seen["guest"]) == ("active", 0, "RUNNING")


def test_a_server_without_a_drive_needs_no_password(host):
    """nova-api makes one for each request; it has no way into the guest."""
    host.set(config_drive="")
    host.power_fails(f"{BOOT}:take_server:end", BOOT, **build_arguments(password=SECRET))

    host.resume()

    assert (host.look()["vm_state"], host.look()["faults"]) == ("active", 0)


def test_a_boot_that_fails_is_not_built_elsewhere_without_them(host):
    """The next host would not know that there was a password."""
    refuse_to_start(host)
    host.set(config_drive="")
    host.power_fails(f"{BOOT}:take_server:end", BOOT, **build_arguments(password=SECRET))

    host.resume()

    assert (host.look()["vm_state"], host.look()["casts"]) == ("error", [])


def test_a_boot_that_fails_takes_its_password_along(host):
    """After a kill the next host gets what nova-api has sent."""
    refuse_to_start(host)
    host.killed(f"{BOOT}:take_server:end", BOOT, **build_arguments(password=SECRET))

    host.resume()

    (cast,) = host.conductor.read()["casts"]
    assert unwrap(cast["arguments"])["admin_password"] == SECRET


def test_user_data_is_read_from_the_record(host, drives):
    """The request had it, too, and the journal has not."""
    host.set(user_data="I2Nsb3VkLWNvbmZpZw==")
    host.power_fails(f"{BOOT}:take_server:end", BOOT, **build_arguments())
    assert "I2Nsb3VkLWNvbmZpZw" not in on_disk(host)

    host.resume()

    assert host.look()["vm_state"] == "active"
    assert drives[-1].server.user_data == "I2Nsb3VkLWNvbmZpZw=="


def rebuild(password):
    return {**REBUILD, "new_pass": password}


def rebuilding(host):
    host.boot()
    host.set(task_state="rebuilding")


@pytest.mark.parametrize("boundary", ["accepted", "fetch_images:end", "power_off:end"])
def test_a_rebuild_without_its_password_leaves_the_disks(host, boundary):
    """It was not that far; its user may start the server again."""
    rebuilding(host)
    disks = host.look()["files"]
    host.power_fails(f"rebuild_instance:{boundary}", "rebuild_instance", **rebuild(SECRET))

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["files"]) == ("error", None, disks)
    assert "ask again" in faults(host)[-1]


def test_a_rebuild_past_its_point_of_no_return_without_its_password(host):
    """It ends in error as any rebuild that fails there: to be rebuilt again."""
    rebuilding(host)
    host.power_fails("rebuild_instance:remove_disks:end", "rebuild_instance", **rebuild(SECRET))

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["journal"]) == ("error", None, [])
    assert "ask again" in faults(host)[-1]


def test_a_rebuild_that_is_killed_has_its_password(host, drives):
    """As if nothing had happened."""
    rebuilding(host)
    host.killed("rebuild_instance:remove_disks:end", "rebuild_instance", **rebuild(SECRET))

    host.resume()

    assert (host.look()["vm_state"], drives[-1].admin_password) == ("active", SECRET)


def test_a_rescue_without_its_password(host):
    """The server's own guest is defined again."""
    host.boot()
    host.set(task_state="rescuing")
    arguments = {**RESCUE, "rescue_password": SECRET}
    host.power_fails("rescue_instance:keep_guest:end", "rescue_instance", **arguments)

    host.resume()

    seen = host.look()
    assert (seen["task_state"], seen["journal"]) == (None, [])
    assert not [name for name in seen["files"] if "rescue" in name]
    assert "ask again" in faults(host)[-1]


def changing_password(host):
    host.boot()
    image = {"image_hw_qemu_guest_agent": "yes"}
    host.set(task_state="updating_password", system_metadata=image)
    host.hypervisor.agents.add(host.server)
    guest = host.hypervisor.guests[host.server]
    object.__setattr__(guest.spec, "guest_agent", True)


def test_a_change_of_password_that_is_killed_goes_on(host):
    """Its user has set it."""
    changing_password(host)
    host.killed("set_admin_password:accepted", "set_admin_password", new_pass=SECRET)

    host.resume()

    assert list(host.hypervisor.passwords.values()) == [SECRET]
    assert (host.look()["task_state"], host.look()["faults"]) == (None, 0)


def test_a_change_of_password_after_a_power_failure(host):
    """The guest has the old one, its user is told to ask again, and can."""
    changing_password(host)
    host.power_fails("set_admin_password:accepted", "set_admin_password", new_pass=SECRET)

    host.resume()

    assert host.hypervisor.passwords == {}
    assert host.look()["task_state"] is None
    assert "set it again" in faults(host)[-1]


def test_the_token_is_there_after_a_kill(host):
    """What is asked of Neutron and Cinder is asked by the user still."""
    seen = []

    def allocate(context, *arguments, **more):
        seen.append(context.auth_token)
        raise HypervisorError("enough")

    context = RequestContext({"request_id": "req-1", "auth_token": SECRET})
    agent = host.agent()
    instance = agent.tools.instances.get(context, host.server)
    arguments = {"instance": instance, **wrap(build_arguments())}
    agent.engine.accept(BOOT, context, host.server, arguments)
    assert SECRET not in on_disk(host)

    again = host.agent()
    again.tools.ports.allocate = allocate
    again.engine.resume()
    assert again.engine.settle(60)

    assert seen == [SECRET]

