"""Volumes that leave a host with their server, come to one, or get an image written into them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from nova_lite import errors
from nova_lite.clock import SYSTEM, Pace
from nova_lite.conductor.records import BlockDevices
from nova_lite.services import guest
from nova_lite.services.events import VOLUME_REIMAGED, EventHub
from nova_lite.services.work import Signals, Work
from nova_lite.steps.volume.moves import (
    AttachReservedVolumes,
    CheckVolumes,
    ReimageRootVolume,
    ReserveRootVolume,
    ReserveVolumes,
)
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.cinder import local_cinder
from tests.fakes.clock import ManualClock
from tests.fakes.cloud import Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.volume_driver import FakeHostConnector, FakeVolumeDrivers, FileVolumes

SERVER = "11111111-1111-1111-1111-111111111111"
VOLUME, ATTACHMENT = "v1", "a1"
MAPPING = {
    "id": 1, "uuid": "22222222-1111-1111-1111-111111111111", "instance_uuid": SERVER,
    "source_type": "volume", "destination_type": "volume", "volume_id": VOLUME, "volume_size": 1,
    "attachment_id": ATTACHMENT, "connection_info": None, "delete_on_termination": False,
    "device_name": "/dev/vdb", "boot_index": None, "no_device": False, "deleted": False,
}  # fmt: skip


class Lab:
    """One volume that is reserved for a server, and processes at work on it."""

    def __init__(self, directory):
        self.directory, self.unplugged = directory, []
        self.ledger = Ledger(directory / "cloud.json")
        self.conductor = FakeConductor(directory / "conductor.json", self.ledger)
        self.files = FileVolumes(directory)
        self.guest_is_left = False
        self.task_state = None
        self.clock = SYSTEM
        self.notes = {}
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"] = {"1": dict(MAPPING)}
        with self.ledger.open() as content:
            content["cinder"] = {
                "volumes": {VOLUME: {
                    "id": VOLUME, "status": "reserved", "attach_status": "reserved", "size": 1,
                    "multiattach": False, "metadata": {}, "migration_status": None,
                }},
                "attachments": {ATTACHMENT: {
                    "id": ATTACHMENT, "status": "reserved", "instance": SERVER,
                    "volume_id": VOLUME, "mountpoint": None, "connector": None,
                    "connection_info": {},
                }},
            }  # fmt: skip

    def work(self):
        """A new process's view."""
        tools = SimpleNamespace(
            host="host1",
            conf=SimpleNamespace(
                cinder=SimpleNamespace(cross_az_attach=True), reimage_timeout_per_gb=20,
                instances_path=str(self.directory),
            ),
            cinder=local_cinder(self.ledger),
            block_devices=BlockDevices(self.conductor),
            volumes=FakeVolumeDrivers(self.files),
            connector=FakeHostConnector(),
            hypervisor=SimpleNamespace(
                defined=lambda uuid: self.guest_is_left,
                detach_disk=lambda uuid, serial: self.unplugged.append(serial),
            ),
            instances=SimpleNamespace(get=lambda context, uuid: self._instance()),
            images=SimpleNamespace(show=lambda context, image: SimpleNamespace(size=2 * 1024**3)),
            clock=self.clock,
            pace=Pace(reimage_poll=0.01),
            events=EventHub(self.clock),
        )
        return Work(
            RequestContext({"request_id": "req-1"}), tools, self._instance(), {}, self.notes,
            self.notes.update, Signals(),
        )  # fmt: skip

    def _instance(self):
        return WireObject.new("Instance", "2.8", uuid=SERVER, task_state=self.task_state)

    def change(self, **volume):
        with self.ledger.open() as content:
            content["cinder"]["volumes"][VOLUME].update(volume)

    def forget_connections(self):
        """As the host does when it loses power."""
        for path in (self.ledger.path.parent / "connected").iterdir():
            path.unlink()

    def map(self, **fields):
        with self.conductor.database() as tables:
            tables["BlockDeviceMapping"]["1"].update(fields)

    def look(self):
        """Status of the volume, of its attachments; whether Nova, and the host, have it."""
        cinder = self.ledger.read()["cinder"]
        row = self.conductor.read()["BlockDeviceMapping"]["1"]
        known = row["attachment_id"] in cinder["attachments"]
        return (
            cinder["volumes"][VOLUME]["status"],
            [row["status"] for row in cinder["attachments"].values()],
            None if row["deleted"] else (known, bool(row["connection_info"])),
            len(self.files.connected()),
        )


HERE = ("in-use", ["attached"], (True, True), 1)
NOWHERE = ("reserved", ["reserved"], (True, False), 0)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_a_volume_comes_and_leaves_with_its_server(lab):
    """It is never free for others in between, and each can be done again."""
    for _ in range(2):
        AttachReservedVolumes(lab.work()).do()
        assert lab.look() == HERE
    for _ in range(2):
        ReserveVolumes(lab.work()).do()
        assert lab.look() == NOWHERE
    AttachReservedVolumes(lab.work()).do()
    assert lab.look() == HERE


def test_a_volume_attached_while_there_was_no_host_gets_its_device(lab, monkeypatch):
    """Only the host that takes the server can name it; users see the name."""
    lab.map(device_name=None)
    device = {"device_name": "/dev/vdb", "disk_bus": "virtio", "device_type": "disk"}
    plan = SimpleNamespace(bdm_updates={MAPPING["uuid"]: device})
    monkeypatch.setattr(guest, "disk_plan", lambda work: plan)

    AttachReservedVolumes(lab.work()).do()

    row = lab.conductor.read()["BlockDeviceMapping"]["1"]
    assert {name: row[name] for name in device} == device
    assert lab.look() == HERE


@pytest.mark.parametrize("lost", ["save", "delete_attachment"])
def test_a_reservation_that_nobody_recorded_is_found(lab, lost, monkeypatch):
    """The process before died when it had made it, or before it deleted the other one."""
    AttachReservedVolumes(lab.work()).do()
    work = lab.work()
    owner = work.tools.block_devices if lost == "save" else work.tools.cinder
    monkeypatch.setattr(owner, lost, lambda *args, **fields: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ReserveVolumes(work).do()
    assert len(lab.look()[1]) == 2

    ReserveVolumes(lab.work()).do()
    assert lab.look() == NOWHERE


def test_a_volume_that_was_deleted_by_force_holds_nobody_up(lab):
    """What is left of it on the host goes."""
    AttachReservedVolumes(lab.work()).do()
    with lab.ledger.open() as content:
        content["cinder"].update(volumes={}, attachments={})
    ReserveVolumes(lab.work()).do()
    assert lab.files.connected() == []


def test_what_a_failed_unshelve_took_is_reserved_again(lab):
    """For the next try, on any host."""
    AttachReservedVolumes(lab.work()).do()
    AttachReservedVolumes(lab.work()).undo()
    assert lab.look() == NOWHERE


def test_a_server_that_is_deleted_meanwhile_reserves_nothing(lab):
    """The delete may know nothing of a new attachment."""
    AttachReservedVolumes(lab.work()).do()
    lab.task_state = "deleting"
    AttachReservedVolumes(lab.work()).undo()
    assert lab.look() == ("available", [], (False, True), 0)


def test_a_guest_that_is_left_keeps_its_volumes(lab):
    """Nobody else may get what it writes to."""
    AttachReservedVolumes(lab.work()).do()
    lab.guest_is_left = True
    with pytest.raises(errors.HypervisorError):
        AttachReservedVolumes(lab.work()).undo()
    assert lab.look() == HERE


def test_a_reboot_brings_back_what_is_only_reserved(lab):
    """Another agent was cut off in a rebuild; its records still tell of the connection before."""
    AttachReservedVolumes(lab.work()).do()
    kept = lab.conductor.read()["BlockDeviceMapping"]["1"]["connection_info"]
    ReserveVolumes(lab.work()).do()
    lab.map(connection_info=kept)
    CheckVolumes(lab.work()).do()
    assert lab.look() == HERE


def test_a_reboot_parts_a_server_from_a_volume_that_was_taken_from_it(lab):
    """Cinder has no attachment any more: somebody else may have the volume."""
    AttachReservedVolumes(lab.work()).do()
    lab.work().tools.cinder.delete_attachment(RequestContext({}), ATTACHMENT)
    work = lab.work()
    CheckVolumes(work).do()
    assert lab.look() == ("available", [], None, 0)
    assert guest.mappings(work) == []


def test_a_server_does_not_boot_from_a_volume_that_was_taken_from_it(lab):
    """It must not write to what may be somebody else's."""
    AttachReservedVolumes(lab.work()).do()
    lab.map(boot_index=0)
    lab.work().tools.cinder.delete_attachment(RequestContext({}), ATTACHMENT)
    with pytest.raises(errors.InvalidVolume, match="is gone"):
        CheckVolumes(lab.work()).do()


def test_a_reboot_does_not_need_cinder(lab):
    """It refuses to tell: the records are believed."""
    AttachReservedVolumes(lab.work()).do()
    lab.forget_connections()
    with lab.ledger.open() as content:
        content["cinder"]["fail"] = {"GET attachments": 500}
    CheckVolumes(lab.work()).do()
    assert lab.look() == HERE


def test_a_start_waits_for_no_volume_that_is_being_attached(lab):
    """Its name is reserved, nothing more; the guest gets it when that is done."""
    lab.map(attachment_id=None)
    CheckVolumes(lab.work()).do()
    assert lab.look()[2:] == ((False, False), 0)


def test_saved_memory_is_not_restored_without_a_volume_that_it_uses(lab):
    """It would go on writing to what may be somebody else's: the user has to give the memory up."""
    AttachReservedVolumes(lab.work()).do()
    lab.work().tools.cinder.delete_attachment(RequestContext({}), ATTACHMENT)
    with pytest.raises(errors.InvalidVolume, match="hard reboot"):
        CheckVolumes(lab.work(), memory_saved=True).do()
    assert lab.look()[2:] == ((False, True), 1)


def test_no_definition_keeps_a_volume_that_was_taken(lab):
    """Neither the rescue system's nor the one that is kept beside it."""
    AttachReservedVolumes(lab.work()).do()
    lab.work().tools.cinder.delete_attachment(RequestContext({}), ATTACHMENT)
    kept = lab.directory / SERVER / "unrescue.xml"
    kept.parent.mkdir()
    kept.touch()
    CheckVolumes(lab.work()).do()
    assert (kept.exists(), lab.unplugged) == (False, [VOLUME])


# --- images -------------------------------------------------------------------------------------
@pytest.fixture
def reimaging(lab, monkeypatch):
    """A step, and what Cinder is to do when it is asked."""
    lab.map(boot_index=0)
    asked = []

    def make(answer):
        work = lab.work()

        def reimage(context, volume_id, image_id, reimage_reserved):
            asked.append((volume_id, image_id, reimage_reserved))
            answer(work)

        monkeypatch.setattr(work.tools.cinder, "reimage_volume", reimage)
        return ReimageRootVolume(work, "i1"), asked

    return make


def test_the_event_ends_the_wait(lab, reimaging):
    """Also when Cinder's own records lag behind."""

    def answer(work):
        lab.change(status="downloading")
        work.tools.events.deliver(SERVER, VOLUME_REIMAGED, VOLUME, "completed")

    step, asked = reimaging(answer)
    step.do()
    assert asked == [(VOLUME, "i1", True)]


def test_an_image_that_was_written_is_not_asked_for_once_more(lab, reimaging):
    """After a power failure the volume is attached by then, and Cinder would refuse."""

    def answer(work):
        work.tools.events.deliver(SERVER, VOLUME_REIMAGED, VOLUME, "completed")

    step, _ = reimaging(answer)
    assert not step.done()
    step.do()
    lab.change(status="attaching")

    for successor in (ReserveRootVolume(lab.work()), ReimageRootVolume(lab.work(), "i1")):
        assert successor.done()


def test_an_image_that_is_being_written_is_not_asked_for_again(lab, reimaging):
    """The agent was killed meanwhile, and Cinder's event found nobody."""
    lab.change(status="downloading")
    step, asked = reimaging(lambda work: None)
    threading.Timer(0.1, lab.change, kwargs={"status": "reserved"}).start()
    step.do()
    assert asked == []


def test_an_image_that_cannot_be_written_ends_the_rebuild(lab, reimaging):
    """Cinder sends no event then; the volume tells."""
    step, _ = reimaging(lambda work: lab.change(status="error"))
    with pytest.raises(errors.BuildAborted, match="status of volume v1 is error"):
        step.do()


def test_cinder_has_the_time_that_the_image_takes(lab, reimaging):
    """reimage_timeout_per_gb, for an image of 2 GiB."""
    lab.clock = ManualClock(0.0)
    step, _ = reimaging(lambda work: lab.change(status="downloading"))
    with pytest.raises(errors.BuildAborted, match="within 40 s"):
        step.do()
    assert 40 <= lab.clock.now < 41
