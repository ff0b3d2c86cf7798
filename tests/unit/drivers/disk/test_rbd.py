"""Disks in Ceph: what is cloned, what is removed, and what belongs to somebody else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.drivers import disk as disks
from nova_lite.drivers.disk import process
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.drivers.disk.ceph import Ceph
from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.drivers.disk.rbd import RbdBackend
from nova_lite.drivers.disk.rbd_images import RbdImages
from nova_lite.errors import DiskError, FlavorDiskTooSmall, InvalidConfiguration
from tests.fakes.ceph import FSID, FakeCeph, Image

GIB = 1024**3
SERVER = "3b0f1c3e-0000-4000-8000-000000000001"
DISK = f"vms/{SERVER}_disk"
IMAGE = "images/glance-1@snap"
LOCATION = f"rbd://{FSID}/images/glance-1/snap"
LABEL = "ab" * 16


@pytest.fixture
def cluster():
    cluster = FakeCeph()
    cluster.images["images/glance-1"] = Image(GIB, snapshots={"snap": True})
    return cluster


@pytest.fixture
def backend(cluster):
    images = RbdImages(cluster, retries=3, pause_s=0, sleep=lambda seconds: None)
    return RbdBackend(images, "vms", "cinder", "457eb676")


@pytest.fixture
def where(tmp_path):
    return tmp_path / SERVER


def test_an_image_of_this_cluster_is_cloned(backend, cluster, where):
    """The disk is a clone of the flavor's size; other addresses do not count."""
    other = "rbd://00000000-3898-49fc-be29-051ada1712bf/images/glance-1/snap"
    assert backend.origin(["file:///x", other, LOCATION]) == IMAGE

    backend.create(where, LocalDisk("disk", 2 * GIB, origin=IMAGE))

    assert set(cluster.images) == {"images/glance-1", DISK}
    assert (cluster.images[DISK].size, cluster.images[DISK].parent) == (2 * GIB, IMAGE)
    assert where.is_dir()


@pytest.mark.parametrize(
    "location",
    [
        f"rbd://{FSID}/images/gone/snap",
        f"rbd://{FSID}/images/glance-1",
        "rbd://glance-1",
        f"rbd://{FSID}/vms/{SERVER}_disk/snap",
        f"rbd://{FSID}/images/glance-1/snap%40x",
    ],
)
def test_addresses_that_are_not_believed(backend, cluster, location):
    """What is not there, is no snapshot, or is a server's own disk is no image to clone."""
    cluster.images[DISK] = Image(GIB, snapshots={"snap": True})
    assert backend.origin([location]) is None


def test_an_independent_clone_needs_no_image(backend, cluster, where):
    """A server that is unshelved has blocks of its own: its snapshot is deleted."""
    backend.create(where, LocalDisk("disk", 0, origin=IMAGE, independent=True))
    assert cluster.images[DISK] == Image(GIB)


def test_a_clone_that_does_not_fit(backend, cluster, where):
    """The flavor is too small: nothing is made."""
    small = LocalDisk("disk", GIB // 2, origin=IMAGE)
    for attempt in (backend.check, lambda disk: backend.create(where, disk)):
        with pytest.raises(FlavorDiskTooSmall):
            attempt(small)
    assert set(cluster.images) == {"images/glance-1"}


def test_a_failure_leaves_nothing(backend, cluster, where, monkeypatch):
    """A disk that cannot be finished does not get its name, and what was made of it goes."""
    monkeypatch.setattr(cluster, "_resize", lambda *argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backend.create(where, LocalDisk("disk", 2 * GIB, origin=IMAGE))
    assert set(cluster.images) == {"images/glance-1"}


def test_half_a_disk_is_none(backend, cluster, where):
    """What an agent left that was killed does not count; the next one puts it away."""
    part, swap_part = f"{DISK}.0a1b2c3d.part", f"{DISK}.swap.0a1b2c3d.part"
    cluster.images |= {part: Image(GIB), swap_part: Image(GIB)}
    assert not backend.exists(where, "disk")
    backend.create(where, LocalDisk("disk", GIB, origin=IMAGE))
    assert set(cluster.images) == {"images/glance-1", DISK, swap_part}, "it may be in the making"
    backend.create(where, LocalDisk("disk.swap", GIB))
    assert set(cluster.images) == {"images/glance-1", DISK, f"{DISK}.swap"}


def test_half_a_disk_that_is_still_open_goes_with_the_server(backend, cluster, where):
    """Nobody waits for a program that has outlived its agent."""
    part = f"{DISK}.0a1b2c3d.part"
    cluster.images[part] = Image(GIB)
    cluster.watched[part] = 1
    backend.create(where, LocalDisk("disk", GIB, origin=IMAGE))
    assert set(cluster.images) == {"images/glance-1", DISK, part}
    backend.remove_all(where)
    assert set(cluster.images) == {"images/glance-1"}


def test_only_the_servers_own_disks_go(backend, cluster, where):
    """Names that begin alike are other servers'."""
    cluster.images |= {DISK: Image(1), f"{DISK}.eph0": Image(1), f"vms/{SERVER}0_disk": Image(1)}
    backend.remove_all(where)
    assert set(cluster.images) == {"images/glance-1", f"vms/{SERVER}0_disk"}


def test_a_disk_that_is_still_open(backend, cluster, where):
    """The watch of a QEMU that died ends after a while; for that long it is tried again."""
    cluster.images[DISK] = Image(1)
    cluster.watched[DISK] = 2
    backend.remove(where, "disk")
    assert DISK not in cluster.images

    cluster.images[DISK] = Image(1)
    cluster.watched[DISK] = 3
    with pytest.raises(DiskError, match=rf"{DISK} is still in use: see 'rbd status {DISK}'"):
        backend.remove(where, "disk")


def test_snapshots_of_agents_go_with_a_disk(backend, cluster, where):
    """Those of operators do not: the error names them."""
    cluster.images[DISK] = Image(1, snapshots={"nova-resize": False, LABEL: True})
    backend.remove(where, "disk")
    assert DISK not in cluster.images

    cluster.images[DISK] = Image(1, snapshots={"backup": False})
    with pytest.raises(DiskError, match="backup"):
        backend.remove(where, "disk")
    assert DISK in cluster.images


def test_a_snapshot_becomes_an_image(backend, cluster, where):
    """It lies where its origin lies, needs nothing of the server, and may be made once more."""
    backend.create(where, LocalDisk("disk", 2 * GIB, origin=IMAGE))
    location = backend.image_location(where, "disk", "new-1", [])
    assert location == f"rbd://{FSID}/images/new-1/snap"
    for _ in range(2):
        backend.take(where, "disk", LABEL)
        assert backend.share(where, "disk", LABEL, location)
        backend.drop(where, "disk", LABEL)
    assert cluster.images["images/new-1"] == Image(2 * GIB, snapshots={"snap": True})
    assert cluster.images[DISK].snapshots == {}

    backend.unshare(location)
    backend.unshare(location)
    assert set(cluster.images) == {"images/glance-1", DISK}


def test_an_image_that_was_cut_off_is_made_anew(backend, cluster, where):
    """A clone without its snapshot is what a killed agent left."""
    cluster.images[DISK] = Image(GIB)
    location = backend.image_location(where, "disk", "new-1", [LOCATION])
    backend.take(where, "disk", LABEL)
    cluster.images["images/new-1"] = Image(GIB, parent=f"{DISK}@{LABEL}")
    assert backend.share(where, "disk", LABEL, location)
    assert cluster.images["images/new-1"] == Image(GIB, snapshots={"snap": True})


def test_a_pool_that_we_may_not_write_to(backend, cluster, where):
    """Then the snapshot is uploaded."""
    cluster.images[DISK] = Image(GIB)
    backend.take(where, "disk", LABEL)
    location = backend.image_location(where, "disk", "new-1", [LOCATION])
    cluster.forbidden_pools = {"images"}
    assert not backend.share(where, "disk", LABEL, location)


def test_nobody_knows_where_images_are(backend, cluster, where):
    """A disk without a parent, of an image that is elsewhere."""
    cluster.images[DISK] = Image(GIB)
    assert backend.image_location(where, "disk", "new-1", ["file:///x"]) is None


def test_what_the_guest_is_given(backend, where):
    """Monitors, the name in the pool, and the secret of the user."""
    source = backend.source(where, "disk.eph0")
    assert (source.path, source.type, source.format) == (f"{DISK}.eph0", "network", "raw")
    network = source.network
    assert (network.protocol, network.hosts) == ("rbd", (("127.0.0.1", "6789"),))
    assert (network.user, network.secret_type, network.secret_uuid) == (
        "cinder", "ceph", "457eb676"
    )  # fmt: skip


def options(**changed):
    usual = {
        "images_type": "rbd", "images_rbd_pool": "vms", "images_rbd_ceph_conf": "",
        "rbd_user": "cinder", "rbd_secret_uuid": "457eb676", "rbd_connect_timeout": 5,
        "rbd_destroy_volume_retries": 12, "rbd_destroy_volume_retry_interval": 5,
    }  # fmt: skip
    return SimpleNamespace(libvirt=SimpleNamespace(**{**usual, **changed}))


def test_options_that_belong_together():
    """A user needs the secret with his key; nobody is contacted to find out."""
    assert type(disks.from_conf(options())) is RbdBackend
    with pytest.raises(InvalidConfiguration, match="rbd_secret_uuid"):
        disks.from_conf(options(rbd_secret_uuid=None))
    with pytest.raises(InvalidConfiguration, match="images_rbd_pool"):
        disks.from_conf(options(images_rbd_pool=""))


@pytest.mark.parametrize(
    ("status", "stderr", "kind"),
    [
        (2, "rbd: couldn't connect to the cluster!\n(2) No such file or directory", DiskError),
        (110, "(110) Connection timed out", DiskError),
        (2, "rbd: error opening pool 'vms': (2) No such file or directory", DiskError),
        (None, "", DiskError),
        (2, "rbd: error opening image x: (2) No such file or directory", ToolFailed),
    ],
)
def test_a_cluster_that_is_away_is_told_from_an_image_that_is(monkeypatch, status, stderr, kind):
    """Both are error 2 for rbd; the first must never look like "there is no such disk"."""
    def failing(*argv, **more):
        raise ToolFailed(f"rbd failed: {stderr}", status, stderr)

    monkeypatch.setattr(process, "run", failing)
    with pytest.raises(DiskError) as raised:
        Ceph("/etc/c.conf", "cinder").rbd("info", "vms/x")
    assert type(raised.value) is kind
    if kind is DiskError:
        assert "the Ceph cluster of /etc/c.conf does not answer" in str(raised.value)


def test_how_qemu_calls_an_image():
    """Letters that end a value are escaped."""
    name = Ceph("/etc/a:b.conf", "cinder").qemu_name("vms/x@y")
    assert name == r"rbd:vms/x@y:id=cinder:conf=/etc/a\:b.conf:client_mount_timeout=5"


# --- the host that had the server ---------------------------------------------------------------
ALIVE, DEAD = "192.0.2.2:0/11", "192.0.2.2:0/12"


def test_who_has_the_disks_of_a_server_open_is_shut_out(backend, cluster, where):
    """By its watch and by its lock; disks of other servers are none of this."""
    cluster.images[DISK] = Image(GIB, watchers=[ALIVE], locks={"auto 1": DEAD})
    cluster.images[f"{DISK}.swap"] = Image(GIB)
    cluster.images["vms/other_disk"] = Image(GIB, watchers=["192.0.2.3:0/1"])

    for _ in range(2):
        backend.shut_out(where)

    assert set(cluster.blocked) == {ALIVE, DEAD}
    assert min(cluster.blocked.values()) > 86400
    assert cluster.images[DISK].locks == {}


def test_where_nobody_can_be_shut_out_the_disk_is_not_taken(backend, cluster, where):
    """Two guests would write to it. The message has the image, the client and the capability."""
    cluster.images[DISK] = Image(GIB, watchers=[ALIVE])
    cluster.may_block = False

    with pytest.raises(DiskError, match=f"{DISK} is open at {ALIVE}.*profile rbd"):
        backend.shut_out(where)


def test_a_server_without_disks_shuts_nobody_out(backend, cluster, where):
    """It boots from a volume."""
    backend.shut_out(where)

    assert cluster.blocked == {}
