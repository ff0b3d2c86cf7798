"""The image cache: one download for many, nothing half, nothing that lies."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_lite.errors import (
    DiskError,
    DiskFull,
    FlavorDiskTooSmall,
    ImageNotFound,
    ImageUnacceptable,
    ImageUnavailable,
)
from nova_lite.services.image_cache import ImageCache
from tests.fakes.images import FakeImages

MIB = 1024**2
ID = "82d72db9-7cf6-43f0-b19b-6c759e07f106"
RAW = b"a guest's disk".ljust(2 * MIB, b"\0")


@pytest.fixture
def source() -> FakeImages:
    return FakeImages()


@pytest.fixture
def cache(tmp_path: Path, source: FakeImages) -> ImageCache:
    return ImageCache(tmp_path / "instances" / "_base", source, wait_s=20)


def converted(data: bytes, kind: str, tmp_path: Path, *options: str) -> bytes:
    """``data`` as a disk image of another format."""
    raw, out = tmp_path / "converted.raw", tmp_path / "converted.out"
    raw.write_bytes(data)
    command = ["qemu-img", "convert", "-f", "raw", "-O", kind, *options, str(raw), str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out.read_bytes()


def listing(cache: ImageCache) -> list[str]:
    return sorted(entry.name for entry in cache.path(ID).parent.iterdir())


def test_names_are_those_of_nova_compute(cache, source, tmp_path):
    """A cached image is named after the SHA-1 of its id, so that stock agents find it."""
    image = source.add(ID, RAW)
    path = cache.fetch(None, image)

    assert path == tmp_path / "instances/_base" / hashlib.sha1(ID.encode()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "instances/locks" / f"nova-{path.name}").exists()


def test_raw_image_is_kept_as_it_is(cache, source):
    """A raw image is downloaded once and used as it is."""
    image = source.add(ID, RAW)
    assert not cache.complete(image)

    path = cache.fetch(None, image)
    assert path.read_bytes() == RAW
    assert cache.complete(image) and cache.complete(ID)
    assert cache.fetch(None, image) == path
    assert source.downloads == [ID]
    assert listing(cache) == [path.name]


@pytest.mark.parametrize(
    ("disk_format", "qemu"),
    [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhdx", "vhdx"), ("vdi", "vdi")],
)
def test_other_formats_become_raw(cache, source, tmp_path, disk_format, qemu):
    """With force_raw_images the cache holds the disk's plain content."""
    image = source.add(ID, converted(RAW, qemu, tmp_path), disk_format)
    path = cache.fetch(None, image)

    assert path.read_bytes()[: len(RAW)] == RAW
    assert listing(cache) == [path.name]


def test_qcow2_stays_without_force_raw(tmp_path, source):
    """force_raw_images=False keeps qcow2, and only qcow2, as it is."""
    cache = ImageCache(tmp_path / "_base", source, force_raw=False)
    data = converted(RAW, "qcow2", tmp_path)

    assert cache.fetch(None, source.add(ID, data, "qcow2")).read_bytes() == data
    other = source.add("other", converted(RAW, "vdi", tmp_path), "vdi")
    assert cache.fetch(None, other).read_bytes()[: len(RAW)] == RAW


def test_many_boots_share_one_download(cache, source):
    """However many servers start from an image at once, it is fetched once."""
    image = source.add(ID, RAW)
    source.delay_s = 0.2
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: cache.fetch(None, image), range(8)))

    assert set(paths) == {cache.path(ID)}
    assert source.downloads == [ID]


def test_different_images_do_not_wait_for_each_other(cache, source):
    """Fetches of two images overlap."""
    source.delay_s = 0.5
    wanted = [source.add(name, RAW) for name in ("one", "two", "three", "four")]
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda image: cache.fetch(None, image), wanted))

    assert time.monotonic() - start < 1.5


def test_max_concurrent_disk_ops(tmp_path, source):
    """[compute]max_concurrent_disk_ops bounds the fetches that run at once."""
    cache = ImageCache(tmp_path / "_base", source, max_concurrent=1)
    source.delay_s = 0.2
    wanted = [source.add(name, RAW) for name in ("one", "two", "three")]
    start = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda image: cache.fetch(None, image), wanted))

    assert time.monotonic() - start >= 0.6


LOCKER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def test_waits_for_another_process(cache, source, tmp_path):
    """A stock nova-compute that fetches the same image into the same directory is waited for."""
    image = source.add(ID, RAW)
    lock = tmp_path / "instances/locks" / f"nova-{cache.path(ID).name}"
    lock.parent.mkdir(parents=True)
    command = [sys.executable, "-c", LOCKER, str(lock)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        thread = threading.Thread(target=cache.fetch, args=(None, image))
        thread.start()
        time.sleep(0.5)
        assert source.downloads == []
    finally:
        other.send_signal(signal.SIGKILL)  # a killed process gives its lock back
        other.wait()
        other.stdout.close()
    thread.join(10)
    assert source.downloads == [ID]


def test_the_wait_has_an_end(tmp_path, source):
    """Somebody who holds the image for ever does not block the host for ever."""
    cache = ImageCache(tmp_path / "_base", source, wait_s=0.3)
    lock = tmp_path / "locks" / f"nova-{cache.path(ID).name}"
    lock.parent.mkdir()
    command = [sys.executable, "-c", LOCKER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(ImageUnavailable, match=f"{ID} did not end within 0.3 s"):
            cache.fetch(None, source.add(ID, RAW))
        other.kill()


def test_failed_fetch_frees_the_lock(cache, source):
    """After an error the next boot tries for itself."""
    image = source.add(ID, b"QFI\xfb" + bytes(600), "raw")
    with pytest.raises(ImageUnacceptable):
        cache.fetch(None, image)
    good = source.add(ID, RAW)

    assert cache.fetch(None, good).read_bytes() == RAW


def test_use_is_noted(cache, source):
    """Every fetch renews the time by which unused images age."""
    image = source.add(ID, RAW)
    path = cache.fetch(None, image)
    os.utime(path, (1, 1))
    cache.fetch(None, image)

    assert path.stat().st_mtime > time.time() - 60


def test_leftovers_of_a_killed_fetch(cache, source, tmp_path):
    """Whatever a killed agent left, the next fetch makes a whole file of it."""
    image = source.add(ID, converted(RAW, "qcow2", tmp_path), "qcow2")
    path = cache.path(ID)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".part").write_bytes(b"half converted")

    assert not cache.complete(image)
    assert cache.fetch(None, image).read_bytes()[: len(RAW)] == RAW
    assert listing(cache) == [path.name]


def test_verified_download_of_a_killed_fetch_is_used(cache, source, tmp_path):
    """An agent killed during the conversion does not download again."""
    image = source.add(ID, converted(RAW, "qcow2", tmp_path), "qcow2")
    path = cache.path(ID)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".download").write_bytes(source.images[ID][1])

    assert cache.fetch(None, image).read_bytes()[: len(RAW)] == RAW
    assert source.downloads == []
    assert listing(cache) == [path.name]


def qcow2_with(tmp_path: Path, *options: str) -> bytes:
    path = tmp_path / "evil.qcow2"
    (tmp_path / "secret").write_bytes(bytes(MIB))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()


def refused(cache: ImageCache, source: FakeImages, data: bytes, disk_format: str) -> str:
    image = source.add(ID, data, disk_format)
    with pytest.raises(ImageUnacceptable, match=ID) as caught:
        cache.fetch(None, image)
    assert listing(cache) == []
    return str(caught.value)


def test_backing_file_is_refused(cache, source, tmp_path):
    """A qcow2 that refers to a file of the host is refused before QEMU opens it."""
    data = qcow2_with(tmp_path, "-b", str(tmp_path / "secret"), "-F", "raw")

    assert "backing" in refused(cache, source, data, "qcow2")


def test_data_file_is_refused(cache, source, tmp_path):
    """A qcow2 whose content is in another file of the host is refused (CVE-2024-32498)."""
    data = qcow2_with(tmp_path, "-o", f"data_file={tmp_path / 'secret'},data_file_raw=on")

    assert "data_file" in refused(cache, source, data, "qcow2")


def test_qcow2_declared_raw_is_refused(cache, source, tmp_path):
    """An image that says raw and is not would be probed later: refused."""
    data = converted(RAW, "qcow2", tmp_path)

    assert "registered as raw but contains qcow2" in refused(cache, source, data, "raw")


def test_raw_declared_qcow2_is_refused(cache, source):
    """The opposite lie is refused as well."""
    assert "registered as qcow2 but contains raw" in refused(cache, source, RAW, "qcow2")


def test_qcow2_declared_ami_is_refused(cache, source, tmp_path):
    """An AMI is a bare file system, whatever container it claims."""
    refused(cache, source, converted(RAW, "qcow2", tmp_path), "ami")


def test_qcow2_inside_the_disk_is_refused(cache, source, tmp_path):
    """A disk whose content is itself a qcow2 header must not become a raw base."""
    inner = qcow2_with(tmp_path, "-b", str(tmp_path / "secret"), "-F", "raw").ljust(MIB, b"\0")

    reason = refused(cache, source, converted(inner, "qcow2", tmp_path), "qcow2")
    assert "another disk image" in reason


def test_vmdk_descriptor_with_host_path_is_refused(cache, source):
    """A VMDK descriptor that names a file of the host is refused (CVE-2022-47951)."""
    descriptor = (
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 2048 FLAT "/etc/shadow" 0\n'
    )
    refused(cache, source, descriptor.encode().ljust(2048, b"\n"), "vmdk")


def test_vmdk_types_are_configurable(tmp_path, source):
    """[compute]vmdk_allowed_types decides which subformats pass."""
    cache = ImageCache(tmp_path / "_base", source, vmdk_types=["streamOptimized"])
    sparse = converted(RAW, "vmdk", tmp_path)
    stream = converted(RAW, "vmdk", tmp_path, "-o", "subformat=streamOptimized")

    assert "monolithicSparse is not among" in refused(cache, source, sparse, "vmdk")
    assert cache.fetch(None, source.add(ID, stream, "vmdk")).exists()


def test_unknown_format_is_refused(cache, source):
    """A format that nothing here understands is named."""
    assert "disk_format ploop is not supported" in refused(cache, source, RAW, "ploop")


def test_whole_disk_with_partition_table_is_raw(cache, source):
    """A raw image with an MBR is the usual case."""
    entry = struct.pack("<B3BB3BII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 2048, 2048)
    mbr = bytes(446) + entry + bytes(48) + b"\x55\xaa"
    image = source.add(ID, mbr.ljust(2 * MIB, b"\0"))

    assert cache.fetch(None, image).stat().st_size == 2 * MIB


def test_damaged_qcow2_is_refused(cache, source, tmp_path):
    """An image whose tables are garbage fails to convert, and leaves nothing."""
    data = converted(os.urandom(2 * MIB), "qcow2", tmp_path)
    damaged = data[:65536] + b"\xff" * (4 * 65536) + data[5 * 65536 :]

    assert "cannot be converted" in refused(cache, source, damaged, "qcow2")


def test_too_large_for_the_flavor(cache, source, tmp_path):
    """The virtual size counts, and is looked at before a conversion."""
    image = source.add(ID, converted(RAW, "qcow2", tmp_path), "qcow2")
    with pytest.raises(FlavorDiskTooSmall, match=rf"{2 * MIB} bytes .* {MIB}"):
        cache.fetch(None, image, root_bytes=MIB)

    assert listing(cache) == []


def test_kernel_is_fetched_as_it_is(cache, source):
    """Kernels and ramdisks are opaque: any bytes will do."""
    source.add("kernel", b"MZ" + bytes(508) + b"\x55\xaa", "aki")
    path = cache.fetch_as_is(None, "kernel")

    assert path.read_bytes() == source.images["kernel"][1]
    assert cache.complete("kernel")


def test_unknown_image(cache, source):
    """The source's error passes, and the cache stays empty."""
    image = source.add("gone", RAW)
    source.images.clear()
    with pytest.raises(ImageNotFound, match="gone"):
        cache.fetch(None, image)

    assert listing(cache) == []


def test_cache_that_cannot_be_made(tmp_path, source):
    """A cache directory that cannot be made is named."""
    (tmp_path / "file").write_bytes(b"")
    cache = ImageCache(tmp_path / "file" / "_base", source, lock_dir=tmp_path / "locks")
    with pytest.raises(DiskError, match="file/_base"):
        cache.fetch(None, source.add(ID, RAW))


def test_conversion_on_a_full_disk(tmp_path, source):
    """A cache that fills up during the conversion says so and is left empty."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        cache = ImageCache(mount / "_base", source, lock_dir=tmp_path / "locks")
        data = converted(b"\1" * (16 * MIB), "qcow2", tmp_path, "-c")
        with pytest.raises(DiskFull, match="bytes are free"):
            cache.fetch(None, source.add(ID, data, "qcow2"))
        assert listing(cache) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_file_lock_is_released(cache, source, tmp_path):
    """After a fetch another process can take the image's lock at once."""
    cache.fetch(None, source.add(ID, RAW))
    lock = tmp_path / "instances/locks" / f"nova-{cache.path(ID).name}"
    code = "import fcntl,sys; fcntl.lockf(open(sys.argv[1],'w'), fcntl.LOCK_EX|fcntl.LOCK_NB)"

    assert subprocess.run([sys.executable, "-c", code, str(lock)]).returncode == 0
