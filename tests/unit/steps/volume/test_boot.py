"""Volumes of servers that are built or deleted, against a Cinder of the test's own."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nova_lite import errors
from nova_lite.clock import Pace
from nova_lite.conductor.records import BlockDevices
from nova_lite.services import guest
from nova_lite.services.work import Signals, Work
from nova_lite.steps.volume import boot as boot_volumes
from nova_lite.steps.volume.boot import AttachVolumes, CreateVolumes
from nova_lite.steps.volume.delete import ReleaseVolumes
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.cinder import local_cinder
from tests.fakes.clock import ManualClock
from tests.fakes.cloud import Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.volume_driver import FakeVolumeDrivers, FileVolumes

SERVER = "11111111-1111-1111-1111-111111111111"
MAPPING = {
    "id": 1, "uuid": "22222222-1111-1111-1111-111111111111", "instance_uuid": SERVER,
    "source_type": "blank", "destination_type": "volume", "volume_id": None, "volume_size": 1,
    "attachment_id": None, "connection_info": None, "delete_on_termination": True,
    "volume_type": None, "no_device": False, "deleted": False,
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "cloud.json")


@pytest.fixture
def make_work(tmp_path, ledger):
    """A process at work on a server with one volume; ``notes`` are an earlier one's."""
    conductor = FakeConductor(tmp_path / "conductor.json", ledger)

    def make(notes=None, **mapping):
        with conductor.database() as tables:
            tables.setdefault("BlockDeviceMapping", {}).setdefault("1", {**MAPPING, **mapping})
        kept = {} if notes is None else notes
        conf = SimpleNamespace(
            block_device_allocate_retries=0,
            block_device_allocate_retries_interval=0,
            cinder=SimpleNamespace(cross_az_attach=True),
        )
        tools = SimpleNamespace(
            host="host1",
            conf=conf,
            cinder=local_cinder(ledger),
            block_devices=BlockDevices(conductor),
            volumes=FakeVolumeDrivers(FileVolumes(tmp_path)),
            clock=ManualClock(),
            pace=Pace(),
        )
        instance = WireObject.new("Instance", "2.8", uuid=SERVER)
        return Work(
            RequestContext({"request_id": "req-1"}), tools, instance, {}, kept,
            lambda **values: kept.update(values), Signals(),
        )  # fmt: skip

    return make


def cinder(ledger):
    return ledger.read()["cinder"]


def test_a_volume_is_made_once_and_recorded(make_work, ledger):
    """Under the name that stock gives to empty volumes."""
    work = make_work()
    CreateVolumes(work).do()
    CreateVolumes(make_work(work.notes)).do()

    (volume,) = cinder(ledger)["volumes"].values()
    assert volume["name"] == f"{SERVER}-blank-vol"
    assert volume["metadata"] == {boot_volumes.MADE_FOR: MAPPING["uuid"]}
    assert work.mappings[0]["volume_id"] == volume["id"]


def test_a_volume_that_nobody_recorded_is_found_again(make_work, ledger, monkeypatch):
    """The process before died when Cinder had made it."""
    notes = {}
    work = make_work(notes)
    monkeypatch.setattr(work.tools.block_devices, "save", lambda *args, **fields: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        CreateVolumes(work).do()

    after = make_work(notes)
    CreateVolumes(after).do()
    assert list(cinder(ledger)["volumes"]) == [after.mappings[0]["volume_id"]]


def test_a_volume_that_is_not_made_ends_the_build(make_work, ledger):
    """The fault says the volume, its status and how long it was waited for."""
    with ledger.open() as content:
        content["cinder"] = {"creation": "error"}
    with pytest.raises(errors.BuildAborted) as caught:
        CreateVolumes(make_work()).do()
    (volume_id,) = cinder(ledger)["volumes"]
    assert caught.value.message == (
        f"Build of instance {SERVER} aborted: Volume {volume_id} did not finish being created even "
        "after we waited 0 seconds or 1 attempts. And its status is error."
    )


def test_a_build_does_not_wait_for_ever_for_cinder(make_work, ledger):
    """First the engine tries again, later the build ends."""
    with ledger.open() as content:
        content["cinder"] = {"fail": {"POST volumes": 503}}
    work = make_work()
    step = CreateVolumes(work)
    with pytest.raises(errors.VolumeServiceUnavailable):
        step.do()
    work.tools.clock.sleep(60)
    with pytest.raises(errors.BuildAborted, match="503"):
        step.do()


def test_a_volume_is_reserved_for_the_next_host_once(make_work, ledger, monkeypatch):
    """The conductor was away when that was to be recorded; then this process was killed, too."""
    work = make_work()
    CreateVolumes(work).do()
    with monkeypatch.context() as away:
        call = "tests.fakes.conductor.FakeConductor.object_call"
        away.setattr(call, lambda *args, **fields: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                boot_volumes.reserve_for_next_host(work)

    after = make_work(work.notes)
    boot_volumes.reserve_for_next_host(after)
    boot_volumes.reserve_for_next_host(after)

    (attachment,) = cinder(ledger)["attachments"]
    (kept,) = make_work().tools.block_devices.of_server(after.context, SERVER)
    assert kept["attachment_id"] == attachment


def test_steps_side_by_side_share_the_mappings(make_work, monkeypatch):
    """What one of them records of a volume, the guest's definition has to find."""
    work = make_work()
    read, both = work.tools.block_devices.of_server, threading.Barrier(2)

    def slowly(*args):
        found = read(*args)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return found

    monkeypatch.setattr(work.tools.block_devices, "of_server", slowly)
    with ThreadPoolExecutor(2) as steps:
        one, other = steps.map(guest.mappings, [work, work])
    assert one is other


def test_an_attempt_goes_on_with_what_was_not_recorded(make_work, monkeypatch):
    """Else a conductor of which every other answer is lost would be asked for ever."""
    work = make_work(source_type="volume", volume_id=MAPPING["uuid"])
    step, seen, lose = AttachVolumes(work), [], [False, True, False]
    second = WireObject.new("BlockDeviceMapping", "1.21", **{**MAPPING, "uuid": "b", "id": 2})
    work.mappings = [*guest.mappings(work), second]
    records = SimpleNamespace(bdm_updates={MAPPING["uuid"]: {}, "b": {}})
    monkeypatch.setattr(guest, "disk_plan", lambda work: records)

    def attach(mapping, device):
        seen.append(mapping["uuid"])
        if lose[len(seen) - 1]:
            raise errors.ControlPlaneUnavailable("nova-conductor did not answer")

    monkeypatch.setattr(step, "_attach", attach)
    with pytest.raises(errors.ControlPlaneUnavailable):
        step.do()
    step.do()
    assert seen == [MAPPING["uuid"], "b", "b"]


def test_all_volumes_are_disconnected_though_cinder_is_away(make_work, ledger, monkeypatch):
    """A server whose build has failed is deleted without asking this host again."""
    work = make_work(volume_id="33333333-1111-1111-1111-111111111111", attachment_id="a")
    (first,) = guest.mappings(work)
    work.mappings = [first, first]
    disconnected = []
    monkeypatch.setattr(boot_volumes, "disconnect", lambda work, m: disconnected.append(m))
    with ledger.open() as content:
        content["cinder"] = {"fail": {"DELETE attachments": 503}}
    with pytest.raises(errors.VolumeServiceUnavailable):
        AttachVolumes(work).undo()
    assert len(disconnected) == 2


@pytest.mark.parametrize("ends", [True, False])
def test_a_deleted_server_lets_go_of_its_volumes(make_work, ledger, ends):
    """What ends with the server is deleted, the rest is available again."""
    work = make_work(delete_on_termination=ends)
    CreateVolumes(work).do()
    work.tools.cinder.create_attachment(work.context, work.mappings[0]["volume_id"], SERVER)
    ReleaseVolumes(work).do()

    left = [volume["status"] for volume in cinder(ledger)["volumes"].values()]
    assert left == ([] if ends else ["available"])
    assert cinder(ledger)["attachments"] == {}


def test_a_mapping_that_was_deleted_before_deletes_no_volume(make_work, ledger):
    """The volume may be another server's by now."""
    work = make_work()
    CreateVolumes(work).do()
    work.mappings[0].set(deleted=True)
    ReleaseVolumes(work).do()
    assert len(cinder(ledger)["volumes"]) == 1


def test_a_server_goes_though_cinder_refuses(make_work, ledger, caplog):
    """What is left is logged by name."""
    work = make_work()
    CreateVolumes(work).do()
    with ledger.open() as content:
        content["cinder"]["fail"] = {"DELETE volumes": 400}
    ReleaseVolumes(work).do()
    assert f"Failed to release volume {work.mappings[0]['volume_id']}" in caplog.text


def test_volumes_of_a_server_that_is_gone_are_found_and_deleted(make_work, ledger):
    """No record tells of them any more."""
    work = make_work()
    CreateVolumes(work).do()
    work.tools.block_devices.of_server = lambda context, uuid: []
    boot_volumes.delete_unrecorded(work)
    assert cinder(ledger)["volumes"] == {}
