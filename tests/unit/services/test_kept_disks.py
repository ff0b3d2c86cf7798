"""What is kept of a server that moves: files renamed, disks in Ceph remembered by a snapshot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.drivers import disk as disks
from nova_lite.drivers.disk.rbd import RbdBackend
from nova_lite.drivers.disk.rbd_images import RbdImages
from nova_lite.errors import DiskError
from nova_lite.services import kept_disks
from tests.fakes.ceph import FakeCeph, Image

SERVER = "3b0f1c3e-0000-4000-8000-000000000001"
DISK = f"vms/{SERVER}_disk"


@pytest.fixture
def cluster():
    cluster = FakeCeph()
    cluster.images[DISK] = Image(10)
    return cluster


@pytest.fixture
def work(tmp_path):
    notes = {}
    conf = SimpleNamespace(instances_path=str(tmp_path))
    tools = SimpleNamespace(conf=conf, disks=disks.backend("raw", use_cow_images=False))
    made = SimpleNamespace(uuid=SERVER, tools=tools, notes=notes, note=notes.update)
    write(tmp_path / SERVER, "old")
    return made


@pytest.fixture
def rbd_work(work, cluster):
    images = RbdImages(cluster, retries=1, pause_s=0, sleep=lambda seconds: None)
    work.tools.disks = RbdBackend(images, "vms", "cinder", "457eb676")
    return work


def write(where, text):
    where.mkdir()
    (where / "disk").write_text(text)


def found(tmp_path):
    return {path.name: (path / "disk").read_text() for path in tmp_path.iterdir()}


def test_files_are_kept_as_stock_keeps_them_and_come_back(work, tmp_path):
    """The directory has the name that nova-compute looks for; all of it may be repeated."""
    for _ in range(2):
        kept_disks.keep(work)
        assert kept_disks.are_kept(work)
        assert found(tmp_path) == {f"{SERVER}_resize": "old"}

    for _ in range(2):
        kept_disks.restore(work)
        assert not kept_disks.are_kept(work)
        assert found(tmp_path) == {SERVER: "old"}


def test_keep_is_not_repeated_over_the_new_place(work, tmp_path):
    """On one host, and on shared storage, the new disks have the name that the old ones had."""
    kept_disks.keep(work)
    write(tmp_path / SERVER, "new")

    kept_disks.keep(work)

    assert found(tmp_path) == {SERVER: "new", f"{SERVER}_resize": "old"}


def test_an_agent_killed_before_it_knew_keeps_what_is_kept(work, tmp_path):
    """The rename is on disk, the note is not."""
    (tmp_path / SERVER).rename(tmp_path / f"{SERVER}_resize")

    kept_disks.keep(work)

    assert work.notes == {"files_kept": True}
    assert found(tmp_path) == {f"{SERVER}_resize": "old"}


def test_what_is_left_of_an_earlier_move_is_not_kept(work, tmp_path):
    """It would come back by a revert in place of the server's disks."""
    write(tmp_path / f"{SERVER}_resize", "ancient")

    kept_disks.keep(work)

    assert found(tmp_path) == {f"{SERVER}_resize": "old"}


@pytest.mark.parametrize("same_place", [True, False])
def test_restore_removes_the_copy_of_the_new_place(work, tmp_path, same_place):
    """The old files are there, whatever had been made beside."""
    kept_disks.keep(work)
    if same_place:
        write(tmp_path / SERVER, "new")

    kept_disks.restore(work)

    assert found(tmp_path) == {SERVER: "old"}


@pytest.mark.parametrize("noted", [True, False])
def test_undo_takes_back_only_what_this_move_has_kept(work, tmp_path, noted):
    """An undo may come before the step, and find what an earlier move left."""
    if noted:
        kept_disks.keep(work)
        write(tmp_path / SERVER, "new")
    else:
        write(tmp_path / f"{SERVER}_resize", "ancient")

    for _ in range(2):
        kept_disks.take_back(work)

    assert found(tmp_path)[SERVER] == "old"


def test_undo_brings_back_what_a_killed_agent_has_renamed(work, tmp_path):
    """The server must not be without its disks because the note is missing."""
    (tmp_path / SERVER).rename(tmp_path / f"{SERVER}_resize")

    kept_disks.take_back(work)

    assert found(tmp_path) == {SERVER: "old"}


def test_discard_removes_the_kept_files_only(work, tmp_path):
    """Also where an earlier attempt was killed in the middle."""
    kept_disks.keep(work)
    write(tmp_path / SERVER, "new")
    write(tmp_path / f"{SERVER}_resize_del", "half")

    for _ in range(2):
        kept_disks.discard(work)

    assert found(tmp_path) == {SERVER: "new"}


def test_what_cannot_be_renamed_is_named(work, tmp_path, monkeypatch):
    """And nothing is lost."""

    def refused(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.rename", refused)
    with pytest.raises(DiskError, match=f"{SERVER}_resize: Permission denied"):
        kept_disks.keep(work)
    assert found(tmp_path) == {SERVER: "old"}


def test_a_disk_in_ceph_is_rolled_back(rbd_work, cluster):
    """It is as large as before, and the snapshot that stock would take, too, is gone."""
    kept_disks.keep_state(rbd_work)
    assert cluster.images[DISK].snapshots == {"nova-resize": False}
    cluster.images[DISK].size = 20
    kept_disks.keep_state(rbd_work)

    for _ in range(2):
        kept_disks.restore(rbd_work)

    assert (cluster.images[DISK].size, cluster.images[DISK].snapshots) == (10, {})


def test_nobody_has_a_disk_open_that_is_rolled_back(rbd_work, cluster):
    """The host that gave the server back may have lost its power right then."""
    kept_disks.keep_state(rbd_work)
    cluster.images[DISK].watchers.append("192.0.2.7:0/1")

    kept_disks.restore(rbd_work)

    assert list(cluster.blocked) == ["192.0.2.7:0/1"]


def test_a_snapshot_of_an_earlier_move_is_not_believed(rbd_work, cluster):
    """A revert would bring back data of long ago."""
    cluster.images[DISK] = Image(10, snapshots={"nova-resize": False}, sizes={"nova-resize": 1})

    kept_disks.keep_state(rbd_work)
    kept_disks.restore(rbd_work)

    assert cluster.images[DISK].size == 10


def test_confirming_forgets_the_disk_in_ceph(rbd_work, cluster):
    """The disk stays as the new flavor has it."""
    kept_disks.keep_state(rbd_work)
    cluster.images[DISK].size = 20

    kept_disks.discard(rbd_work)

    assert (cluster.images[DISK].size, cluster.images[DISK].snapshots) == (20, {})


def test_a_server_without_a_root_disk_in_ceph_moves(rbd_work, cluster):
    """It boots from a volume."""
    cluster.images.clear()

    kept_disks.keep_state(rbd_work)
    kept_disks.restore(rbd_work)
    kept_disks.discard(rbd_work)

    assert cluster.images == {}
