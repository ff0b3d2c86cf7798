"""A root disk whose backing file is gone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from nova_lite.errors import DiskError
from nova_lite.services.image_cache import ImageCache
from nova_lite.steps.disk.backing import RestoreBacking

MINE, OTHER = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"


class Cache(ImageCache):
    """Notes what is fetched; what is an image's file is the real one's business."""

    fetched: list[str]

    def show(self, context, image_id):
        return SimpleNamespace(id=image_id)

    def fetch(self, context, image, *, root_bytes=0, raw=None):
        self.fetched.append(image.id)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "_base", None)
    made.fetched = []
    (tmp_path / "_base").mkdir()
    return made


def overlay_of(disk: Path, base: Path) -> None:
    """A file with the header of a qcow2 overlay."""
    name = str(base).encode()
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + (64).to_bytes(8, "big")
    header += len(name).to_bytes(4, "big")
    disk.parent.mkdir(parents=True, exist_ok=True)
    disk.write_bytes(header.ljust(64, b"\0") + name)


@pytest.fixture
def step(cache: Cache, tmp_path: Path) -> RestoreBacking:
    flavor = SimpleNamespace(root_gb=1)
    work = SimpleNamespace(
        uuid="s1",
        context=None,
        instance={},
        server=SimpleNamespace(image=SimpleNamespace(id=MINE), flavor=flavor),
        tools=SimpleNamespace(images=cache, conf=SimpleNamespace(instances_path=str(tmp_path))),
    )
    return RestoreBacking(work)


def test_what_is_gone_is_fetched_again(step, cache: Cache, tmp_path: Path) -> None:
    """From the image service, by the server's own image."""
    overlay_of(tmp_path / "s1" / "disk", cache.path(MINE))

    step.do()

    assert cache.fetched == [MINE]


def test_what_is_there_is_left_alone(step, cache: Cache, tmp_path: Path) -> None:
    """The image service is not asked."""
    overlay_of(tmp_path / "s1" / "disk", cache.path(MINE))
    cache.path(MINE).touch()

    step.do()

    assert cache.fetched == []


def test_another_images_file_cannot_be_brought_back(step, cache: Cache, tmp_path: Path) -> None:
    """An unshelved server's disk starts from a snapshot that is deleted since."""
    overlay_of(tmp_path / "s1" / "disk", cache.path(OTHER))

    with pytest.raises(DiskError, match=hashlib.sha1(OTHER.encode()).hexdigest()):
        step.do()


@pytest.mark.parametrize("base", ["/etc/nothing-here", None])
def test_only_files_of_the_cache_count(step, cache: Cache, tmp_path: Path, base) -> None:
    """A guest may write any header into its own raw disk; a disk that is missing is no overlay."""
    if base:
        overlay_of(tmp_path / "s1" / "disk", Path(base))

    step.do()

    assert cache.fetched == []
