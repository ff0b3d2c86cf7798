"""What every disk backend promises, whatever it stores (drivers/disk/base.py)."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from nova_lite.drivers import disk as disks
from nova_lite.drivers.disk.base import DiskBackend, LocalDisk
from nova_lite.errors import DiskError, DiskFull, FlavorDiskTooSmall

MIB = 1024**2
GIB = 1024 * MIB


@pytest.fixture(params=["qcow2", "raw"])
def backend(request: pytest.FixtureRequest) -> DiskBackend:
    return disks.backend(request.param, use_cow_images=True)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "3b0f1c3e-0000-4000-8000-000000000001"


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


def info(backend: DiskBackend, path: Path) -> dict:
    return json.loads(qemu_img("info", "-f", backend.format, "--output=json", str(path)))


def content(backend: DiskBackend, path: Path, tmp_path: Path) -> bytes:
    out = tmp_path / "content"
    qemu_img("convert", "-f", backend.format, "-O", "raw", str(path), str(out))
    return out.read_bytes()


def leftovers(directory: Path) -> list[str]:
    return [entry.name for entry in directory.glob("*part*")] if directory.exists() else []


def test_root_disk_has_the_flavors_size_and_the_images_bytes(backend, directory, base, tmp_path):
    """A root disk is as large as the flavor says and starts with the image."""
    path = backend.create(directory, LocalDisk("disk", 64 * MIB, base=base))

    assert path == directory / "disk" == backend.path(directory, "disk")
    assert backend.exists(directory, "disk")
    assert info(backend, path)["virtual-size"] == 64 * MIB
    assert content(backend, path, tmp_path)[:11] == b"hello guest"
    assert leftovers(directory) == []


def test_size_zero_means_as_large_as_the_image(backend, directory, base):
    """A flavor without a root disk size takes that of the image."""
    path = backend.create(directory, LocalDisk("disk", 0, base=base))

    assert info(backend, path)["virtual-size"] == 8 * MIB


def test_image_larger_than_the_flavor_is_refused(backend, directory, base):
    """An image that does not fit leaves nothing behind and says both sizes."""
    small = LocalDisk("disk", 4 * MIB, base=base)
    for attempt in (lambda: backend.check(small), lambda: backend.create(directory, small)):
        with pytest.raises(FlavorDiskTooSmall, match=rf"{8 * MIB} .*{4 * MIB}"):
            attempt()
    backend.check(LocalDisk("disk", 8 * MIB, base=base))

    assert not backend.exists(directory, "disk")
    assert leftovers(directory) == []


def test_an_existing_disk_is_left_as_it_is(backend, directory, base):
    """Making a disk again does not touch the one the guest has written to."""
    path = backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    before = path.stat()
    backend.create(directory, LocalDisk("disk", 32 * MIB, base=base))

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_a_killed_attempt_left_is_replaced(backend, directory, base):
    """Half a disk of a killed agent neither counts as one nor disturbs the next attempt."""
    directory.mkdir()
    (directory / "disk.part").write_bytes(b"half a disk")

    assert not backend.exists(directory, "disk")
    path = backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    assert info(backend, path)["virtual-size"] == 16 * MIB
    assert leftovers(directory) == []


def test_ephemeral_disk_has_a_labelled_file_system(backend, directory, tmp_path):
    """An ephemeral disk is formatted and found by its label."""
    disk = LocalDisk("disk.eph0", 64 * MIB, fs="ext4", label="ephemeral0")
    path = backend.create(directory, disk)

    image = content(backend, path, tmp_path)
    assert len(image) == 64 * MIB
    assert image[0x438:0x43A] == b"\x53\xef"  # ext super block magic
    assert image[0x478:0x488].rstrip(b"\0") == b"ephemeral0"
    assert leftovers(directory) == []


def test_swap_disk_is_swap_space(backend, directory, tmp_path):
    """A swap disk carries the signature that swapon looks for."""
    path = backend.create(directory, LocalDisk("disk.swap", 16 * MIB, fs="swap"))

    assert content(backend, path, tmp_path)[4086:4096] == b"SWAPSPACE2"


def test_empty_disk(backend, directory, tmp_path):
    """A disk with neither image nor file system reads as zeroes."""
    path = backend.create(directory, LocalDisk("disk.local", MIB))

    assert content(backend, path, tmp_path) == bytes(MIB)


def test_kernel_is_copied_as_it_is(backend, directory, tmp_path):
    """Boot files keep their bytes, even when they look like a broken partition table."""
    kernel = tmp_path / "kernel.cached"
    kernel.write_bytes(b"MZ".ljust(510, b"\xff") + b"\x55\xaa" + b"code")
    path = backend.create(directory, LocalDisk("kernel", 0, base=kernel))

    assert path.read_bytes() == kernel.read_bytes()


def test_format_is_on_record(backend, directory, base):
    """disk.info tells the format, so that nobody has to believe a guest's header."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    backend.create(directory, LocalDisk("disk.swap", MIB, fs="swap"))

    record = json.loads((directory / "disk.info").read_text())
    assert record == {
        str(directory / "disk"): backend.format,
        str(directory / "disk.swap"): backend.format,
    }


def test_modes_are_those_of_nova_compute(backend, directory, base):
    """Disks are world readable and not executable: libvirt changes the owner as it needs."""
    path = backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))

    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / "disk.info").stat().st_mode) == 0o644


def test_remove_is_repeatable(backend, directory, base):
    """Removing a disk takes it off the record; removing it again is success."""
    backend.create(directory, LocalDisk("disk", 16 * MIB, base=base))
    backend.remove(directory, "disk")
    backend.remove(directory, "disk")

    assert not backend.exists(directory, "disk")
    assert json.loads((directory / "disk.info").read_text()) == {}


def test_remove_from_a_directory_that_never_was(backend, directory):
    """Nothing to remove is success."""
    backend.remove(directory, "disk")

    assert not directory.exists()


def test_preallocated_disk_takes_its_space(directory, base):
    """preallocate_images=space reserves the blocks at once."""
    for kind in ("qcow2", "raw"):
        backend = disks.backend(kind, True, preallocate_images="space")
        path = backend.create(directory / kind, LocalDisk("disk", 16 * MIB, base=base))
        assert path.stat().st_blocks * 512 >= 16 * MIB


def test_cached_image_with_a_backing_file_is_refused(backend, directory, tmp_path):
    """A qcow2 in the cache that refers to a file of the host is never opened."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * MIB)
    evil = tmp_path / "evil"
    qemu_img("create", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(evil))

    with pytest.raises(DiskError, match="evil is not safe"):
        backend.create(directory, LocalDisk("disk", GIB, base=evil))
    assert leftovers(directory) == []


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
