"""What every disk backend promises, whatever it stores (drivers/disk/base.py)."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_lite.drivers import disk as disks
from nova_lite.drivers.disk import backing
from nova_lite.drivers.disk.base import DiskBackend, LocalDisk
from nova_lite.drivers.disk.rbd import RbdBackend
from nova_lite.errors import DiskError, DiskFull, FlavorDiskTooSmall
from tests.contract.disk import ceph_pool

MIB = 1024**2
GIB = 1024 * MIB


@pytest.fixture(params=["qcow2", "raw"])
def files(request: pytest.FixtureRequest) -> DiskBackend:
    """A backend whose disks are files."""
    return disks.backend(request.param, use_cow_images=True)


@pytest.fixture(params=["qcow2", "raw", "rbd"])
def backend(request: pytest.FixtureRequest) -> DiskBackend:
    if request.param == "rbd":
        return ceph_pool.backend()
    return disks.backend(request.param, use_cow_images=True)


@pytest.fixture
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    directory = tmp_path / str(uuid.uuid4())
    yield directory
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend").remove_all(directory)


@pytest.fixture(params=["raw", "qcow2"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A cached image of 8 MiB that begins with a text."""
    raw = tmp_path / "image.raw"
    raw.write_bytes(b"hello guest".ljust(MIB, b"."))
    os.truncate(raw, 8 * MIB)
    if request.param == "raw":
        return raw
    path = tmp_path / "image.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    return path


def qemu_img(*argv: str) -> str:
    done = subprocess.run(["qemu-img", *argv], check=True, capture_output=True, text=True)
    return done.stdout


def named(backend: DiskBackend, directory: Path, name: str) -> str:
    """What qemu-img calls a disk."""
    path = backend.source(directory, name).path
    return ceph_pool.cluster().qemu_name(path) if isinstance(backend, RbdBackend) else path


def size(backend: DiskBackend, directory: Path, name: str) -> int:
    where = named(backend, directory, name)
    info = json.loads(qemu_img("info", "-f", backend.format, "--output=json", where))
    return int(info["virtual-size"])


def content(backend: DiskBackend, directory: Path, name: str, tmp_path: Path) -> bytes:
    out = tmp_path / "content"
    where = named(backend, directory, name)
    qemu_img("convert", "-f", backend.format, "-O", "raw", where, str(out))
    return out.read_bytes()


def leftovers(directory: Path, backend: DiskBackend | None = None) -> list[str]:
    names = backend.names(directory) if backend else [path.name for path in directory.glob("*")]
    return [name for name in names if "part" in name]


def test_root_disk_has_the_flavors_size_and_the_images_bytes(backend, directory, base, tmp_path):
    """A root disk is as large as the flavor says and starts with the image."""
    backend.create(directory, LocalDisk("disk", 64 * MIB, base=base))

    assert backend.exists(directory, "disk")
    assert size(backend, directory, "disk") == 64 * MIB
    assert content(backend, directory, "disk", tmp_path)[:11] == b"hello guest"
    assert leftovers(directory, backend) == []


def test_size_zero_means_as_large_as_the_image(backend, directory, base):
    """A flavor without a root disk size takes that of the image."""
    backend.create(directory, LocalDisk("disk", 0, base=base))

    assert size(backend, directory, "disk") == 8 * MIB


def test_image_larger_than_the_flavor_is_refused(backend, directory, base):
    """An image that does not fit leaves nothing behind and says both sizes."""
    small = LocalDisk("disk", 4 * MIB, base=base)
    for attempt in (lambda: backend.check(small), lambda: backend.create(directory, small)):
        with pytest.raises(FlavorDiskTooSmall, match=rf"{8 * MIB} .*{4 * MIB}"):
            attempt()
    backend.check(LocalDisk("disk", 8 * MIB, base=base))

    assert not backend.exists(directory, "disk")
    assert leftovers(directory, backend) == []


def test_a_disk_grows_and_never_shrinks(backend, directory, base, tmp_path):
    """What is on it stays; repeating it changes nothing."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))

    for wanted in (64, 64, 32):
        backend.grow(directory, "disk", wanted * MIB)

    assert size(backend, directory, "disk") == 64 * MIB
    assert content(backend, directory, "disk", tmp_path)[:11] == b"hello guest"


def test_a_disk_grows_in_the_format_on_record(files, directory):
    """It came from a host that has others."""
    other = "raw" if files.format == "qcow2" else "qcow2"
    disks.backend(other, use_cow_images=True).create(directory, LocalDisk("disk", 16 * MIB))

    files.grow(directory, "disk", 64 * MIB)

    found = json.loads(qemu_img("info", "-f", other, "--output=json", str(directory / "disk")))
    assert found["virtual-size"] == 64 * MIB


def test_an_existing_disk_is_left_as_it_is(backend, directory, base, tmp_path):
    """Making a disk again does not touch the one the guest has written to."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    other = tmp_path / "other"
    other.write_bytes(b"another image".ljust(MIB))
    backend.create(directory, LocalDisk("disk", 32 * MIB, base=other))

    assert size(backend, directory, "disk") == 16 * MIB
    assert content(backend, directory, "disk", tmp_path)[:11] == b"hello guest"


def test_an_independent_disk_does_not_need_its_image(backend, directory, base, tmp_path):
    """The snapshot of a shelved server is deleted once it runs again."""
    backend.create(directory, LocalDisk("disk", 64 * MIB, base=base, independent=True))
    base.unlink()

    assert content(backend, directory, "disk", tmp_path)[:11] == b"hello guest"
    assert size(backend, directory, "disk") == 64 * MIB
    assert leftovers(directory, backend) == []


@pytest.mark.parametrize("mib", [1, 16])
def test_an_independent_overlay_is_based_on_another_image(directory, base, tmp_path, mib):
    """Smaller or larger; it keeps what it was made from."""
    other = tmp_path / "other"
    other.write_bytes(b"another one".ljust(mib * MIB, b"x"))
    qcow2 = disks.backend("qcow2", use_cow_images=True)
    made = LocalDisk("disk", 64 * MIB, base=base, independent=True, rebase_on=other)

    qcow2.create(directory, made)
    expected = tmp_path / "expected"
    qemu_img("convert", "-O", "raw", str(base), str(expected))
    base.unlink()

    found = content(qcow2, directory, "disk", tmp_path)
    assert found == expected.read_bytes().ljust(64 * MIB, b"\0")
    assert backing.backing_file(directory / "disk") == other


def test_what_a_killed_attempt_left_is_replaced(files, directory, base):
    """Half a disk of a killed agent neither counts as one nor disturbs the next attempt."""
    directory.mkdir()
    (directory / "disk.part").write_bytes(b"half a disk")

    assert not files.exists(directory, "disk")
    files.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    assert size(files, directory, "disk") == 16 * MIB
    assert leftovers(directory) == []


def test_ephemeral_disk_has_a_labelled_file_system(backend, directory, tmp_path):
    """An ephemeral disk is formatted and found by its label."""
    disk = LocalDisk("disk.eph0", 64 * MIB, fs="ext4", label="ephemeral0")
    backend.create(directory, disk)

    image = content(backend, directory, "disk.eph0", tmp_path)
    assert len(image) == 64 * MIB
    assert image[0x438:0x43A] == b"\x53\xef"  # ext super block magic
    assert image[0x478:0x488].rstrip(b"\0") == b"ephemeral0"
    assert leftovers(directory, backend) + leftovers(directory) == []


def test_swap_disk_is_swap_space(backend, directory, tmp_path):
    """A swap disk carries the signature that swapon looks for."""
    backend.create(directory, LocalDisk("disk.swap", 16 * MIB, fs="swap"))

    assert content(backend, directory, "disk.swap", tmp_path)[4086:4096] == b"SWAPSPACE2"


def test_empty_disk(backend, directory, tmp_path):
    """A disk with neither image nor file system reads as zeroes."""
    backend.create(directory, LocalDisk("disk.local", MIB))

    assert content(backend, directory, "disk.local", tmp_path) == bytes(MIB)


def test_kernel_is_copied_as_it_is(backend, directory, tmp_path):
    """Boot files are files, and keep their bytes even when they look like a partition table."""
    kernel = tmp_path / "kernel.cached"
    kernel.write_bytes(b"MZ".ljust(510, b"\xff") + b"\x55\xaa" + b"code")
    backend.create(directory, LocalDisk("kernel", 0, base=kernel))

    assert (directory / "kernel").read_bytes() == kernel.read_bytes()
    assert "kernel" in backend.names(directory)
    backend.remove(directory, "kernel")
    assert not backend.exists(directory, "kernel")


def test_a_file_becomes_a_disk(backend, directory, tmp_path):
    """A config drive is written as a file and then taken in, in the place of an older one."""
    directory.mkdir()
    for text in (b"first", b"second"):
        (directory / "disk.config").write_bytes(text.ljust(MIB))
        backend.take_in(directory, "disk.config")

    assert backend.exists(directory, "disk.config")
    assert backend.source(directory, "disk.config").format == "raw"
    out = tmp_path / "out"
    where = named(backend, directory, "disk.config")
    qemu_img("convert", "-f", "raw", "-O", "raw", where, str(out))
    assert out.read_bytes() == b"second".ljust(MIB)


def test_the_servers_disks_are_listed(backend, directory, base):
    """What a server has is found without knowing what it should have."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    backend.create(directory, LocalDisk("disk.rescue", 16 * MIB, base=base))

    assert {"disk", "disk.rescue"} <= set(backend.names(directory))
    neighbour = directory.with_name(str(uuid.uuid4()))
    assert backend.names(neighbour) == []


def test_format_is_on_record(files, directory, base):
    """disk.info tells the format, so that nobody has to believe a guest's header."""
    files.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    files.create(directory, LocalDisk("disk.swap", MIB, fs="swap"))

    record = json.loads((directory / "disk.info").read_text())
    assert record == {
        str(directory / "disk"): files.format,
        str(directory / "disk.swap"): files.format,
    }


def test_the_format_on_record_counts(files, directory):
    """A disk that another agent made in another format is used as what it is."""
    directory.mkdir()
    other = "raw" if files.format == "qcow2" else "qcow2"
    (directory / "disk.info").write_text(json.dumps({str(directory / "disk"): other}))

    assert files.source(directory, "disk").format == other
    assert files.source(directory, "disk.swap").format == files.format


def test_modes_are_those_of_nova_compute(files, directory, base):
    """Disks are world readable and not executable: libvirt changes the owner as it needs."""
    files.create(directory, LocalDisk("disk", 16 * MIB, base=base))

    assert stat.S_IMODE((directory / "disk").stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / "disk.info").stat().st_mode) == 0o644


def test_remove_is_repeatable(backend, directory, base):
    """Removing a disk again is success."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    backend.remove(directory, "disk")
    backend.remove(directory, "disk")

    assert not backend.exists(directory, "disk")


def test_a_removed_disk_is_off_the_record(files, directory, base):
    """disk.info names no disks that are gone."""
    files.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    files.remove(directory, "disk")

    assert json.loads((directory / "disk.info").read_text()) == {}


def test_remove_from_a_directory_that_never_was(backend, directory):
    """Nothing to remove is success."""
    backend.remove(directory, "disk")
    backend.remove_all(directory)

    assert not directory.exists()


def test_preallocated_disk_takes_its_space(directory, base):
    """preallocate_images=space reserves the blocks at once."""
    for kind in ("qcow2", "raw"):
        backend = disks.backend(kind, True, preallocate_images="space")
        backend.create(directory / kind, LocalDisk("disk", 16 * MIB, base=base))
        assert (directory / kind / "disk").stat().st_blocks * 512 >= 16 * MIB


def test_cached_image_with_a_backing_file_is_refused(backend, directory, tmp_path):
    """A qcow2 in the cache that refers to a file of the host is never opened."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * MIB)
    evil = tmp_path / "evil"
    qemu_img("create", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(evil))

    with pytest.raises(DiskError, match="evil is not safe"):
        backend.create(directory, LocalDisk("disk", GIB, base=evil))
    assert leftovers(directory, backend) == []


def test_file_size_limit_is_a_full_disk(directory, base):
    """A write that the system refuses for size is reported with path, need and room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    try:
        with pytest.raises(DiskFull, match=rf"{directory}/disk: {64 * MIB} bytes are needed, \d+"):
            disks.backend("raw", True).create(directory, LocalDisk("disk", 64 * MIB, base=base))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(directory) == []


@pytest.fixture
def small_fs(tmp_path: Path):
    """A file system of 4 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True
    )
    if done.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_full_file_system(small_fs, tmp_path):
    """On a full file system the disk is not there, nor half of it, and the error says why."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(8 * MIB))
    with pytest.raises(DiskFull, match=r"No room for .*bytes are free"):
        disks.backend("raw", True).create(small_fs / "uuid", LocalDisk("disk", GIB, base=image))

    assert not (small_fs / "uuid" / "disk").exists()
    assert leftovers(small_fs / "uuid") == []


def test_full_file_system_when_formatting(small_fs):
    """mkfs that runs out of room is a full disk too."""
    disk = LocalDisk("disk.eph0", 64 * MIB, fs="ext4", label="ephemeral0")
    backend = disks.backend("raw", True, preallocate_images="space")
    with pytest.raises(DiskFull):
        backend.create(small_fs / "uuid", disk)

    assert leftovers(small_fs / "uuid") == []


def test_a_disk_in_ceph_is_rolled_back(directory, base, tmp_path):
    """In size and content, as often as asked; a snapshot that is not there changes nothing."""
    backend = ceph_pool.backend()
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    try:
        for _ in range(2):
            backend.take(directory, "disk", "nova-resize", protected=False)
        backend.grow(directory, "disk", 32 * MIB)
        where = named(backend, directory, "disk")
        subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P 7 0 1M", where], check=True)

        for _ in range(2):
            assert backend.roll_back(directory, "disk", "nova-resize")

        assert size(backend, directory, "disk") == 16 * MIB
        assert content(backend, directory, "disk", tmp_path)[:11] == b"hello guest"
        for _ in range(2):
            backend.drop(directory, "disk", "nova-resize")
        assert not backend.roll_back(directory, "disk", "nova-resize")
    finally:
        backend.remove_all(directory)
