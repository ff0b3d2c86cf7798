"""The power fails at any boundary of real verbs: the next process ends them as they should.

Only what was synced of the journal is left; guests are off and taps are gone.
"""

from __future__ import annotations

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import HypervisorError
from tests.unit.operations.host import IMAGE, Host, build_arguments

BOOT = "build_and_run_instance"
REBUILD = {
    "new_pass": "secret", "injected_files": [], "image_ref": IMAGE, "orig_image_ref": IMAGE,
    "orig_sys_metadata": {"image_base_image_ref": IMAGE}, "bdms": None, "recreate": False,
    "on_shared_storage": False, "preserve_ephemeral": False, "migration": None,
    "scheduled_node": None, "limits": {}, "request_spec": None, "accel_uuids": [],
    "reimage_boot_volume": False, "target_state": None,
}  # fmt: skip
RESCUE = {"rescue_password": "secret", "rescue_image_ref": IMAGE, "clean_shutdown": False}
SHELF = "55555555-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


def disturbed(tmp_path, prepare, method, arguments, part=(0, 1)):
    """For each boundary: what is left when the power failed there and the agent has resumed."""
    host = Host(tmp_path / "dry")
    prepare(host)
    names = host.boundaries(method, **arguments(host))
    yield None, host.look()
    for number, boundary in enumerate(names):
        host = Host(tmp_path / str(number))
        prepare(host)
        host.power_fails(boundary, method, **arguments(host))
        host.resume()
        yield boundary, host.look()


def differences(found, but=()):
    """The boundaries after which something differs from the undisturbed end."""
    (_, wanted), *rest = found
    return {
        boundary: {
            name: (seen[name], wanted[name])
            for name in wanted
            if name not in but and seen[name] != wanted[name]
        }
        for boundary, seen in rest
        if any(seen[name] != wanted[name] for name in wanted if name not in but)
    }


def told(method):
    """Boundaries past which the server's user has seen the end."""
    return tuple(
        f"{method}:{end}" for end in ("report_active:end", "finished", "closed")
    )


def test_a_boot(tmp_path):
    """Its guest runs, or is off like any other whose host was off; never is it given up."""
    found = disturbed(tmp_path, lambda host: None, BOOT, lambda host: build_arguments())
    wrong = differences(found, but=("guest", "taps"))

    assert wrong == {}


def test_a_boot_ends_running_unless_it_was_reported(tmp_path):
    """What its user has not seen yet is made anew: taps, and a guest that runs."""
    for boundary, seen in disturbed(
        tmp_path, lambda host: None, BOOT, lambda host: build_arguments()
    ):
        if boundary not in told(BOOT):
            assert (seen["guest"], seen["taps"]) == ("RUNNING", 1), boundary


def refuse_to_start(host):
    def start(uuid, *, paused=False):
        raise HypervisorError("QEMU exited: no memory")

    host.hypervisor.start = start


@pytest.mark.parametrize("retry", [True, False])
def test_a_boot_that_fails(tmp_path, retry):
    """It goes to the next host once, or ends in ERROR, and leaves nothing."""
    found = disturbed(tmp_path, refuse_to_start, BOOT, lambda host: build_arguments(retry))

    # The next host takes the server over a moment after it was handed to the conductor; a process
    # that is cut off in telling of a failure may tell it twice.
    assert differences(found, but=("host", "task_state", "allocations", "faults")) == {}


def test_an_attach(tmp_path):
    """The volume is in use in all records, or nowhere."""

    def prepare(host):
        host.boot()

    found = disturbed(
        tmp_path, prepare, "attach_volume", lambda host: {"bdm": host.reserve_volume()}
    )

    assert differences(found, but=("guest", "taps")) == {}


def test_a_rebuild(tmp_path):
    """Up to its report it goes on; afterwards its disks are not touched any more."""

    def prepare(host):
        host.boot()
        host.set(task_state="rebuilding")

    found = disturbed(tmp_path, prepare, "rebuild_instance", lambda host: REBUILD)

    assert differences(found, but=("guest", "taps")) == {}


def test_a_rescue(tmp_path):
    """The guest's own definition is kept, not that of the rescue system."""

    def prepare(host):
        host.boot()
        host.set(task_state="rescuing")

    kept = []
    for boundary, seen in disturbed(tmp_path, prepare, "rescue_instance", lambda host: RESCUE):
        number = "dry" if boundary is None else str(len(kept) - 1)
        kept.append((tmp_path / number).glob("instances/*/unrescue.xml"))
        text = next(kept[-1]).read_text()
        assert ".rescue" not in text, boundary
        assert (seen["vm_state"], seen["task_state"], seen["journal"]) == ("rescued", None, [])


@pytest.mark.parametrize("method", ["snapshot_instance", "shelve_instance"])
def test_an_image_is_made_once(tmp_path, method):
    """A snapshot that is complete needs no second copy, and its server ends as asked for."""

    def prepare(host):
        host.boot()
        host.images.await_upload(SHELF)
        snapshot = method == "snapshot_instance"
        host.set(task_state="image_snapshot_pending" if snapshot else "shelving")

    found = disturbed(
        tmp_path, prepare, method, lambda host: {"image_id": SHELF, "clean_shutdown": False}
    )

    assert differences(found, but=("guest", "taps")) == {}


def test_a_delete(tmp_path):
    """Nothing is left."""

    def prepare(host):
        host.boot()
        host.set(task_state="deleting")

    bdms = build_arguments()["block_device_mapping"]
    found = disturbed(tmp_path, prepare, "terminate_instance", lambda host: {"bdms": bdms})

    assert differences(found) == {}


@pytest.mark.parametrize("host_now", ["host2"])
def test_a_server_that_was_evacuated_meanwhile_is_left_alone(tmp_path, host_now):
    """Its ports and volumes are those of another host by now."""
    host = Host(tmp_path)
    host.power_fails(f"{BOOT}:start_guest:end", BOOT, **build_arguments())
    host.set(host=host_now, vm_state="active", task_state=None)

    host.resume()

    seen = host.look()
    assert (seen["host"], seen["vm_state"], seen["faults"]) == (host_now, "active", 0)
    assert (seen["ports"], seen["allocations"]) == (1, {"host1": {"VCPU": 1}})
    assert (seen["guest"], seen["files"], seen["journal"]) == (None, [], [])


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"vm_state": "error", "task_state": None}, ("error", None)),
        ({"vm_state": "building", "task_state": "spawning"}, ("active", None)),
        ({"vm_state": "active", "task_state": None}, ("active", None)),
    ],
)
def test_a_boot_finds_its_server_in_another_state(tmp_path, fields, end):
    """On this very host it goes on, or reports; it never falls silent."""
    host = Host(tmp_path)
    host.power_fails(f"{BOOT}:define_guest:end", BOOT, **build_arguments())
    host.set(host="host1", **fields)

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["task_state"], seen["journal"]) == (*end, [])
    assert seen["faults"] == (end[0] == "error")
    assert ("compute__do_build_and_run_instance", "error" if end[0] == "error" else "success") in (
        seen["ended"]
    ) or seen["ended"], seen


def test_an_active_server_is_not_rolled_back(tmp_path):
    """Though its journal says that the boot has failed."""
    host = Host(tmp_path)
    host.hypervisor.fail("resume", HypervisorError("no answer"))
    host.power_fails(f"{BOOT}:failed", BOOT, **build_arguments())
    host.set(host="host1", vm_state="active", task_state=None)

    host.resume()

    seen = host.look()
    assert (seen["vm_state"], seen["faults"], seen["ports"]) == ("active", 0, 1)
    assert seen["files"] != [] and seen["journal"] == []
