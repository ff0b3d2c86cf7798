"""Snapshots and backups: what is copied how, what the image says, and how failures end."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.clock import Pace
from nova_lite.drivers.disk import qemu_img
from nova_lite.drivers.disk.qcow2 import Qcow2Backend
from nova_lite.errors import (
    DiskFull,
    GuestAgentNotEnabled,
    GuestAgentUnresponsive,
    HypervisorError,
    ImageNotFound,
    ImageQuotaExceeded,
    ImageUnavailable,
    ServerBeingDeleted,
    UnexpectedTaskState,
)
from nova_lite.failures import Failure
from nova_lite.model.domain import DiskSpec
from nova_lite.model.states import PowerState
from nova_lite.operations.snapshot import Backup, Snapshot
from nova_lite.services.image_leftovers import ImageLeftovers
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import stages
from nova_lite.steps.disk import snapshot
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import ManualClock
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.images import FakeImages

IMAGE = "82d72db9-7cf6-43f0-b19b-6c759e07f106"
OLD = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]
PENDING = "image_snapshot_pending"


class Records:
    """Stands for the conductor: the task state by compare-and-swap, and the faults."""

    def __init__(self) -> None:
        self.task: str | None = PENDING
        self.seen: list[str | None] = []
        self.faults: list[str] = []

    def save(self, context: Any, instance: Any, *, expected_task_state: Any, task_state: Any):
        if self.task not in expected_task_state:
            raise UnexpectedTaskState(f"{self.task} is not among {expected_task_state}")
        self.task = task_state
        self.seen.append(task_state)

    def fault(self, context: Any, server: str, failure: Failure) -> None:
        self.faults.append(failure.message)


class Lab:
    """One server with a disk, and what is around it."""

    def __init__(self, directory: Path) -> None:
        self.hypervisor, self.images, self.records = FakeHypervisor(), FakeImages(), Records()
        self.uuid = str(uuid.uuid4())
        self.disk = directory / "instances" / self.uuid / "disk"
        self.disk.parent.mkdir(parents=True)
        qemu_img.create(self.disk, 1024**2)
        (self.disk.parent / "disk.info").write_text(json.dumps({str(self.disk): "qcow2"}))
        disks = (DiskSpec("vda", "virtio", str(self.disk), "qcow2"),)
        self.spec = tiny_guest(directory, uuid=self.uuid, disks=disks)
        self.copies = directory / "snapshots"
        self.conf = SimpleNamespace(
            instances_path=str(directory / "instances"),
            state_path=str(directory),
            libvirt=SimpleNamespace(
                snapshots_directory=str(self.copies),
                snapshot_image_format=None,
                snapshot_compression=False,
            ),
            workarounds=SimpleNamespace(disable_libvirt_livesnapshot=False),
        )
        self.tools = SimpleNamespace(
            conf=self.conf,
            hypervisor=self.hypervisor,
            image_store=self.images,
            instances=self.records,
            actions=self.records,
            disks=Qcow2Backend(),
            clock=ManualClock(),
            pace=Pace(),
        )
        self.images.await_upload(IMAGE, properties={"image_type": "snapshot"})

    def guest(self, state: PowerState, **metadata: str) -> Work:
        if not self.hypervisor.guests:
            self.hypervisor.define(self.spec)
        self.hypervisor.guests[self.uuid].state = state
        return self.work(**metadata)

    def work(self, **metadata: str) -> Work:
        notes: dict[str, Any] = {}
        arguments = {"image_id": IMAGE, "backup_type": "daily", "rotation": 1}
        fields = {
            "uuid": self.uuid,
            "project_id": "project",
            "kernel_id": "",
            "ramdisk_id": None,
            "os_type": "linux",
            "system_metadata": metadata,
        }
        instance = WireObject.new("Instance", "2.8", **fields)
        context = RequestContext({"request_id": "req-1"})
        return Work(context, self.tools, instance, arguments, notes, notes.update)  # type: ignore[arg-type]

    def run(self, work: Work, kind: type[Snapshot] = Snapshot) -> Snapshot:
        operation = kind(work)
        for stage in stages(operation.plan()):
            for step in stage:
                step.do()
        return operation

    def left(self) -> list[str]:
        return [path.name for path in self.copies.iterdir()] if self.copies.exists() else []

    def called(self) -> list[str]:
        return [name for name, _ in self.hypervisor.calls]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("state", [PowerState.RUNNING, PowerState.PAUSED])
def test_a_guest_that_is_there_is_copied_live(lab: Lab, state: PowerState) -> None:
    """It keeps its state, the image is whole, and no copy is left on the host."""
    lab.run(lab.guest(state))

    image = lab.images.show(None, IMAGE)
    assert (image.status, image.disk_format, image.container_format) == ("active", "qcow2", "bare")
    assert "finish_mirror" in lab.called()
    assert lab.hypervisor.guests[lab.uuid].state == state
    assert (lab.records.seen, lab.left()) == (["image_uploading", None], [])


@pytest.mark.parametrize("known", [True, False])
def test_a_guest_that_is_off_is_copied_from_its_file(lab: Lab, known: bool) -> None:
    """Also when the hypervisor has forgotten it: the disk is there."""
    lab.run(lab.guest(PowerState.SHUTDOWN) if known else lab.work())

    assert lab.images.status(None, IMAGE) == "active"
    assert "mirror_disk" not in lab.called()


def test_the_image_tells_what_stock_tells(lab: Lab) -> None:
    """Empty values are left out; what nova-api wrote stays."""
    lab.run(lab.guest(PowerState.RUNNING, image_container_format="ovf"))

    image = lab.images.show(None, IMAGE)
    assert image.container_format == "ovf"
    assert dict(image.properties) == {
        "image_type": "snapshot",
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": "project",
        "os_type": "linux",
    }


@pytest.mark.parametrize("state", [PowerState.RUNNING, PowerState.SHUTDOWN])
@pytest.mark.parametrize("image_format", ["raw", "vmdk"])
def test_the_configured_format_is_made(lab: Lab, state: PowerState, image_format: str) -> None:
    """Also one that QEMU cannot write beside a guest."""
    lab.conf.libvirt.snapshot_image_format = image_format
    lab.run(lab.guest(state))

    image, data = lab.images.images[IMAGE]
    assert image.disk_format == image_format
    assert data.startswith(b"KDMV" if image_format == "vmdk" else bytes(1024**2))


def test_a_slow_copy_shows_its_task_state(lab: Lab) -> None:
    """The chain is stock's, each a compare-and-swap."""
    lab.tools.pace = Pace(copy_shown_after=0.0)
    lab.run(lab.guest(PowerState.RUNNING))

    assert lab.records.seen == ["image_pending_upload", "image_uploading", None]


def test_a_server_that_is_about_something_else_is_left_alone(lab: Lab) -> None:
    """A reset or a delete in between wins."""
    work = lab.guest(PowerState.RUNNING)
    lab.records.task = "deleting"
    with pytest.raises(UnexpectedTaskState) as error:
        lab.run(work)
    Snapshot(work).failed(Failure.of(error.value))

    assert lab.records.task == "deleting"
    assert IMAGE not in lab.images.images


def test_a_guest_that_powers_off_meanwhile_is_copied_at_rest(lab: Lab) -> None:
    """Its copy in the making is useless; the file is not."""
    work = lab.guest(PowerState.RUNNING)
    ready = lab.hypervisor.mirror_ready

    def off(server: str, disk: Path) -> bool:
        lab.hypervisor.guests[server].state = PowerState.SHUTDOWN
        return ready(server, disk)

    lab.hypervisor.mirror_ready = off  # type: ignore[method-assign]
    lab.run(work)

    assert lab.images.status(None, IMAGE) == "active"


def test_a_copy_that_fails_beside_a_running_guest_is_an_error(lab: Lab) -> None:
    """No second way is tried: the guest writes to its disk."""
    work = lab.guest(PowerState.RUNNING)
    lab.hypervisor.fail("mirror_ready", HypervisorError("I/O error"))
    with pytest.raises(HypervisorError, match="I/O error"):
        lab.run(work)

    assert lab.hypervisor.guests[lab.uuid].mirrors == {}
    assert lab.left() == []


def test_a_full_disk_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU only says that the copy has ended."""
    work = lab.guest(PowerState.RUNNING)
    lab.hypervisor.fail("mirror_ready", HypervisorError("ended"))
    monkeypatch.setattr(snapshot.space, "free_bytes", lambda path: 0)
    with pytest.raises(DiskFull, match="snapshots"):
        lab.run(work)


@pytest.mark.parametrize("state", [PowerState.RUNNING, PowerState.SHUTDOWN])
def test_a_delete_ends_the_copy(lab: Lab, state: PowerState) -> None:
    """Neither a job of QEMU nor a file stays."""
    work = lab.guest(state)
    work.cancelled.set()
    lab.hypervisor.mirror_ready = lambda server, disk: False  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        lab.run(work)

    assert (lab.hypervisor.guests[lab.uuid].mirrors, lab.left()) == ({}, [])


def test_where_live_copies_are_off_the_guest_is_held(lab: Lab) -> None:
    """And goes on afterwards; one that its user has paused stays paused."""
    lab.conf.workarounds.disable_libvirt_livesnapshot = True
    lab.run(lab.guest(PowerState.RUNNING))
    called = lab.called()
    assert "mirror_disk" not in called
    assert called.index("pause") < called.index("resume")
    assert lab.hypervisor.guests[lab.uuid].state == PowerState.RUNNING

    lab.hypervisor.calls.clear()
    lab.records.task = PENDING
    lab.run(lab.guest(PowerState.PAUSED))
    assert not {"pause", "resume"} & set(lab.called())


# --- quiesce ----------------------------------------------------------------------------------
AGENT = {"image_hw_qemu_guest_agent": "yes"}
REQUIRED = {"image_os_require_quiesce": "yes"}


def order(lab: Lab) -> list[str]:
    return [name for name in lab.called() if name in ("freeze", "finish_mirror", "thaw")]


def test_file_systems_are_still_for_the_last_moment_only(lab: Lab) -> None:
    """Frozen when the copy has caught up, thawed when it is ended."""
    work = lab.guest(PowerState.RUNNING, **AGENT)
    lab.hypervisor.freeze = lambda server: lab.hypervisor._called("freeze", server)  # type: ignore
    lab.hypervisor.thaw = lambda server: lab.hypervisor._called("thaw", server)  # type: ignore
    lab.run(work)

    assert order(lab) == ["freeze", "finish_mirror", "thaw"]


def test_without_an_answer_of_the_agent_the_copy_is_made_all_the_same(lab: Lab) -> None:
    """Unless the image asks for more; a late freeze is thawed in any case."""
    work = lab.guest(PowerState.RUNNING, **AGENT)
    lab.hypervisor.fail("freeze", GuestAgentUnresponsive("no answer"))
    lab.run(work)

    assert lab.images.status(None, IMAGE) == "active"
    assert order(lab) == ["freeze", "finish_mirror", "thaw"]


def test_required_and_not_obeyed(lab: Lab) -> None:
    """The snapshot fails, the guest goes on."""
    work = lab.guest(PowerState.RUNNING, **AGENT, **REQUIRED)
    lab.hypervisor.fail("freeze", GuestAgentUnresponsive("no answer"))
    with pytest.raises(GuestAgentUnresponsive):
        lab.run(work)

    assert order(lab) == ["freeze", "thaw"]


def test_required_without_an_agent_fails_before_anything_is_copied(lab: Lab) -> None:
    """nova-compute refuses it, too."""
    with pytest.raises(GuestAgentNotEnabled):
        lab.run(lab.guest(PowerState.RUNNING, **REQUIRED))

    assert (lab.hypervisor.guests[lab.uuid].mirrors, lab.records.seen) == ({}, [])


def test_a_guest_frozen_by_an_attempt_that_was_killed_is_thawed_first(lab: Lab) -> None:
    """It must not stay frozen for the length of another copy."""
    work = lab.guest(PowerState.RUNNING, **AGENT)
    work.note(frozen=True)
    lab.run(work)

    called = lab.called()
    assert called.index("thaw") < called.index("mirror_disk")


# --- failures ---------------------------------------------------------------------------------
def failed(lab: Lab, error: Exception, kind: type[Snapshot] = Snapshot) -> None:
    kind(lab.work()).failed(Failure.of(error))


def test_a_failure_leaves_no_image_and_no_task(lab: Lab) -> None:
    """The queued record of nova-api is deleted, the fault says why."""
    failed(lab, ImageQuotaExceeded("full"))

    assert IMAGE not in lab.images.images
    assert (lab.records.task, lab.records.faults) == (None, ["full"])


def test_a_deleted_image_is_the_users_wish(lab: Lab) -> None:
    """No fault for it."""
    del lab.images.images[IMAGE]
    failed(lab, ImageNotFound("gone"))

    assert (lab.records.task, lab.records.faults) == (None, [])


def test_a_deleted_server_leaves_no_image(lab: Lab) -> None:
    """And its task state is not ours any more; an image that was whole by then stays."""
    failed(lab, ServerBeingDeleted("deleted"))
    assert IMAGE not in lab.images.images
    assert (lab.records.task, lab.records.faults) == (PENDING, [])

    lab.images.add(IMAGE, b"whole")
    failed(lab, ServerBeingDeleted("deleted"))
    assert lab.images.status(None, IMAGE) == "active"


def test_an_image_that_cannot_be_deleted_now_is_deleted_later(lab: Lab) -> None:
    """The image service was away when the snapshot failed."""
    status, lab.images.status = lab.images.status, away  # type: ignore[method-assign,assignment]
    failed(lab, ImageUnavailable("away"))
    leftovers = ImageLeftovers(lab.tools)  # type: ignore[arg-type]
    leftovers.tick()
    assert lab.records.task is None
    assert IMAGE in lab.images.images

    lab.images.status = status  # type: ignore[method-assign]
    leftovers.tick()
    assert IMAGE not in lab.images.images
    lab.images.add(IMAGE, b"another of the same name")
    leftovers.tick()
    assert IMAGE in lab.images.images


def away(context: object, image_id: str) -> str:
    raise ImageUnavailable("away")


def test_an_upload_waits_for_the_image_service(lab: Lab) -> None:
    """The copy is there; sending it again costs less than making it again."""
    upload, tries = lab.images.upload, []

    def sometimes(*args: Any, **kwargs: Any) -> None:
        tries.append(args)
        if len(tries) < 3:
            raise ImageUnavailable("away")
        upload(*args, **kwargs)

    lab.images.upload = sometimes  # type: ignore[method-assign]
    lab.run(lab.guest(PowerState.RUNNING))
    assert lab.images.status(None, IMAGE) == "active"


def test_an_upload_gives_up_in_the_end(lab: Lab) -> None:
    """The server must be free for something else, after two minutes."""

    def never(*args: Any, **kwargs: Any) -> None:
        raise ImageUnavailable("away")

    began = lab.tools.clock.now
    lab.images.upload = never  # type: ignore[method-assign]
    with pytest.raises(ImageUnavailable):
        lab.run(lab.guest(PowerState.RUNNING))
    assert 120 < lab.tools.clock.now - began < 130


# --- backups ----------------------------------------------------------------------------------
def test_a_backup_rotates_its_own_kind_out(lab: Lab) -> None:
    """The oldest go; other kinds and other servers' stay."""
    kinds = {OLD[0]: "daily", OLD[1]: "weekly", IMAGE: "daily"}
    del lab.images.images[IMAGE]
    for image_id, kind in kinds.items():
        properties = {"image_type": "backup", "backup_type": kind, "instance_uuid": lab.uuid}
        lab.images.await_upload(image_id, properties=properties)
    lab.records.task = "image_backup"
    lab.run(lab.guest(PowerState.RUNNING), Backup)

    assert set(lab.images.images) == {OLD[1], IMAGE}
    assert lab.records.task is None


def test_old_backups_that_cannot_be_deleted_do_not_spoil_the_new_one(lab: Lab) -> None:
    """It is there all the same."""
    lab.records.task = "image_backup"

    def unknown(*args: Any) -> list[str]:
        raise ImageUnavailable("away")

    lab.images.find = unknown  # type: ignore[method-assign]
    lab.run(lab.guest(PowerState.RUNNING), Backup)

    assert lab.images.status(None, IMAGE) == "active"
