"""What every image store promises (drivers/image/base.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.drivers.image.base import ImageService
from nova_lite.drivers.image.glance import GlanceImages
from nova_lite.errors import ImageNotFound
from tests.contract.image.test_image_contract import UserSessions
from tests.fakes.cloud import FakeImageSource
from tests.fakes.image_uploads import UploadServer
from tests.fakes.images import FakeImages

DATA = b"a snapshot" * 100_000
ID = "82d72db9-7cf6-43f0-b19b-6c759e07f106"
OTHERS = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4)]
HOW = {"disk_format": "qcow2", "container_format": "bare", "properties": {"image_state": "there"}}

AwaitUpload = Callable[..., None]


def fake() -> Iterator[tuple[ImageService, AwaitUpload]]:
    store = FakeImages()
    yield store, store.await_upload


def files() -> Iterator[tuple[ImageService, AwaitUpload]]:
    with TemporaryDirectory() as directory:
        store = FakeImageSource(Path(directory))
        yield store, store.await_upload


def glance() -> Iterator[tuple[ImageService, AwaitUpload]]:
    server = UploadServer()
    conf = SimpleNamespace(
        api_servers=None, num_retries=0, verify_glance_signatures=False,
        enable_certificate_validation=False,
    )  # fmt: skip

    def await_upload(image_id: str, properties: dict[str, str] | None = None) -> None:
        server.await_upload(image_id, **(properties or {}))

    yield GlanceImages(conf, UserSessions(server.url)), await_upload
    server.close()


@pytest.fixture(params=[fake, files, glance], ids=["fake", "files", "glance"])
def made(request: pytest.FixtureRequest) -> Iterator[tuple[ImageService, AwaitUpload]]:
    make: Callable[[], Iterator[tuple[ImageService, AwaitUpload]]] = request.param
    yield from make()


@pytest.fixture
def store(made: Any) -> ImageService:
    return made[0]


@pytest.fixture
def await_upload(made: Any) -> AwaitUpload:
    return made[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.write_bytes(DATA)
    return path


def test_an_uploaded_image_is_whole_and_described(store, await_upload, copy, tmp_path) -> None:
    """It is active, has the formats and properties given beside its own, and the bytes."""
    await_upload(ID, properties={"image_type": "snapshot"})
    assert store.status(None, ID) == "queued"

    store.upload(None, ID, copy, **HOW)

    image = store.show(None, ID)
    assert (image.status, image.size) == ("active", len(DATA))
    assert (image.disk_format, image.container_format) == ("qcow2", "bare")
    assert image.properties["image_type"] == "snapshot"
    assert image.properties["image_state"] == "there"
    store.download(None, ID, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == DATA


def test_an_upload_may_be_repeated(store, await_upload, copy) -> None:
    """Whoever does not know whether the first one arrived sends it again."""
    await_upload(ID)
    store.upload(None, ID, copy, **HOW)
    store.upload(None, ID, copy, **HOW)

    assert store.show(None, ID).size == len(DATA)


def test_an_upload_can_be_given_up(store, await_upload, copy) -> None:
    """What ``go_on`` raises comes out, and the image has not become active."""

    class Enough(Exception):
        pass

    def go_on() -> None:
        raise Enough

    await_upload(ID)
    with pytest.raises(Enough):
        store.upload(None, ID, copy, **HOW, go_on=go_on)

    assert store.status(None, ID) != "active"


def test_an_image_deleted_meanwhile_is_named(store, copy) -> None:
    """The user may delete the record while the disk is copied."""
    with pytest.raises(ImageNotFound, match=ID):
        store.upload(None, ID, copy, **HOW)
    with pytest.raises(ImageNotFound, match=ID):
        store.status(None, ID)


def test_a_deleted_image_is_gone_and_deleting_it_again_succeeds(store, await_upload) -> None:
    """Deleting twice is as good as deleting once."""
    await_upload(ID)
    store.delete(None, ID)
    store.delete(None, ID)

    with pytest.raises(ImageNotFound):
        store.status(None, ID)


def test_images_are_found_by_properties_newest_first(store, await_upload) -> None:
    """All properties must match; there may be more than one page of them."""
    for image_id in OTHERS:
        await_upload(image_id, properties={"image_type": "backup", "backup_type": "daily"})
    await_upload(ID, properties={"image_type": "backup", "backup_type": "weekly"})

    wanted = {"image_type": "backup", "backup_type": "daily"}
    assert store.find(None, wanted) == OTHERS[::-1]
