"""Ageing of the image cache: what is used stays, what is old goes, what is being made is safe."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nova_lite.drivers.disk import qemu_img
from nova_lite.drivers.disk.backing import backing_file
from nova_lite.errors import DiskError
from nova_lite.services.image_ageing import ImageAgeing
from nova_lite.services.image_cache import ImageCache
from tests.fakes.images import FakeImages

MIB = 1024**2
DAY = 24 * 3600
RAW = b"a guest's disk".ljust(MIB, b"\0")


class World:
    """An instances directory with a cache; ``look()`` is one pass over it."""

    def __init__(self, directory, **options):
        self.instances = directory
        self.base = directory / "_base"
        self.source = FakeImages()
        self.images = ImageCache(self.base, self.source, wait_s=20)
        self.options = SimpleNamespace(
            subdirectory_name="_base",
            remove_unused_base_images=True,
            remove_unused_original_minimum_age_seconds=DAY,
            remove_unused_resized_minimum_age_seconds=3600,
        )
        self.base.mkdir()

    def look(self):
        conf = SimpleNamespace(
            host="node1", instances_path=str(self.instances), image_cache=self.options
        )
        ImageAgeing(conf, self.images).run()

    def cached(self, image_id="one", age=2 * DAY):
        """A cached image, last used ``age`` seconds ago."""
        self.source.add(image_id, RAW)
        return self.aged(hashlib.sha1(image_id.encode()).hexdigest(), age)

    def aged(self, name, age=2 * DAY):
        path = self.base / name
        path.write_bytes(RAW)
        then = time.time() - age
        os.utime(path, (then, then))
        return path

    def server(self, name, base, disk="disk"):
        directory = self.instances / name
        directory.mkdir(exist_ok=True)
        qemu_img.create(directory / disk, 0, backing=base)

    def names(self):
        return {path.name for path in self.base.iterdir()}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_an_old_image_goes_and_a_young_one_stays(world):
    """The age counts from the last use."""
    world.cached("old")
    young = world.cached("young", age=DAY - 60)

    world.look()

    assert world.names() == {young.name}


@pytest.mark.parametrize(
    ("directory", "disk"),
    [("s1", "disk"), ("s1", "disk.rescue"), ("s1_resize", "disk"), ("snapshots/x", "delta")],
)
def test_what_backs_any_disk_is_in_use(world, directory, disk):
    """Of whatever server of whatever host; its age starts anew."""
    base = world.cached()
    (world.instances / directory).mkdir(parents=True)
    world.server(directory, base, disk)

    world.look()

    assert base.exists() and time.time() - base.stat().st_mtime < 60


def test_a_directory_known_by_another_path_counts(world):
    """Hosts may mount the shared directory elsewhere; disks name the path of their maker."""
    base, elsewhere = world.cached(), world.instances.parent / "elsewhere"
    elsewhere.symlink_to(world.instances)
    world.server("s1", elsewhere / "_base" / base.name)

    world.look()

    assert base.exists()


def test_a_disk_that_cannot_be_read_stops_the_pass(world, monkeypatch):
    """Nobody knows what it needs."""
    base = world.cached()
    world.server("s1", world.cached("other"))

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("nova_lite.services.image_ageing.backing.backing_file", refuse)
    with pytest.raises(DiskError, match=r"s1/disk.*Permission denied"):
        world.look()
    assert base.exists()


def test_resized_copies_and_empty_disks_of_stock_age_too(world):
    """Under nova-compute's names, with its two ages; what has another name is not ours."""
    digest = "a" * 40
    kept = {
        world.aged(f"{digest}_100", age=600).name,
        world.aged("ephemeral_1_40d1d2c", age=7200).name,
        world.aged("notes.txt").name,
    }
    world.aged(f"{digest}_200", age=7200)
    world.aged("swap_64")
    world.aged("ephemeral_2_40d1d2c")
    backed = world.aged("swap_128")
    world.server("s1", backed, "disk.swap")

    world.look()

    assert world.names() == kept | {"swap_128"}


def test_nothing_is_removed_when_that_is_turned_off(world):
    """remove_unused_base_images; what killed fetches left goes all the same."""
    base = world.cached()
    world.aged(f"{base.name}.part")
    world.options.remove_unused_base_images = False

    world.look()

    assert world.names() == {base.name}


def test_leftovers_of_killed_fetches_are_swept(world):
    """Stages of a fetch that are an hour old; younger ones may be resumed."""
    digest = "b" * 40
    for suffix in ("part", "download", "download.part", "converted"):
        world.aged(f"{digest}.{suffix}", age=7200)
        world.aged(f"{'c' * 40}.{suffix}", age=600)

    world.look()

    assert {name[0] for name in world.names()} == {"c"}


def test_a_fetch_that_goes_on_keeps_its_stages(world):
    """However old they look: it holds the image's lock."""
    part = world.aged(f"{'d' * 40}.download.part")

    with world.images.locks.held("d" * 40, 1):
        world.look()
        assert part.exists()
    world.look()

    assert not part.exists()


def test_a_held_or_just_used_image_is_not_removed(world):
    """A boot holds what it makes its disk from, and marks it."""
    base = world.cached()
    seen = base.stat().st_mtime
    with world.images.held(base):
        world.look()
        assert base.exists()
    os.utime(base)
    assert not world.images.discard(base, base.name, seen)
    assert base.exists()


def test_boots_and_removal_side_by_side(world, monkeypatch):
    """Every boot finds its base, though images are removed as soon as nobody uses them."""
    monkeypatch.setattr("nova_lite.services.image_ageing.YOUNGEST_S", 0.0)
    world.options.remove_unused_original_minimum_age_seconds = 0
    image, stop = world.source.add("busy", RAW), threading.Event()
    passes = []

    def keep_looking():
        while not stop.is_set():
            world.look()
            passes.append(1)

    def boot(number):
        path = world.images.path("busy")
        for turn in range(10):
            with world.images.held(path):
                world.images.fetch(None, image)
                disk = world.instances / f"s{number}" / "disk"
                disk.parent.mkdir(exist_ok=True)
                header = b"QFI\xfb" + bytes(4) + (100).to_bytes(8) + len(str(path)).to_bytes(4)
                assert path.stat().st_size == len(RAW)
                disk.write_bytes(header.ljust(100, b"\0") + str(path).encode())
            assert path.exists(), f"turn {turn}: the base of a disk is gone"
            disk.unlink()

    remover = threading.Thread(target=keep_looking)
    remover.start()
    try:
        with ThreadPoolExecutor(4) as boots:
            list(boots.map(boot, range(4)))
    finally:
        stop.set()
        remover.join()
    assert passes and len(world.source.downloads) >= 1


def test_stock_hosts_are_told_who_shares_the_directory(world):
    """compute_nodes maps a host to the time it was seen, as nova-compute writes it."""
    registry = world.instances / "compute_nodes"
    registry.write_text(json.dumps({"node9": 1.0}))

    world.look()

    hosts = json.loads(registry.read_text())
    assert hosts["node9"] == 1.0 and time.time() - hosts["node1"] < 60
    registry.write_text("{torn")
    world.look()
    assert list(json.loads(registry.read_text())) == ["node1"]


def test_precaching_tells_what_was_there(world):
    """Twice the same image is one download; kernels are opaque bytes."""
    world.source.add("disk", RAW)
    world.source.add("kernel", b"\x7fELF", disk_format="aki")

    assert world.images.precache(None, "disk") and world.images.precache(None, "kernel")
    assert not world.images.precache(None, "disk")
    assert world.source.downloads == ["disk", "kernel"]


def test_only_qcow2_headers_name_a_backing_file(tmp_path):
    """Absolute or relative to the disk; anything else has none."""
    base, overlay, empty = tmp_path / "base", tmp_path / "overlay", tmp_path / "empty"
    base.write_bytes(RAW)
    qemu_img.create(overlay, 0, backing=base)
    empty.write_bytes(b"")

    assert backing_file(overlay) == base
    assert backing_file(base) is None and backing_file(empty) is None
