"""What every image source promises (drivers/image/base.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.drivers.image.base import ImageSource
from nova_lite.drivers.image.glance import GlanceImages
from nova_lite.errors import ImageNotFound
from tests.fakes.cloud import FakeImageSource
from tests.fakes.images import FakeImages, GlanceServer

DATA = b"an image" * 100_000
ID = "82d72db9-7cf6-43f0-b19b-6c759e07f106"


class UserSessions:
    """Gives an adapter with a fixed endpoint and token."""

    def __init__(self, url: str) -> None:
        self._url = url

    def user(self, group: str, service_type: str, context: Any) -> Any:
        from keystoneauth1 import adapter, session, token_endpoint

        auth = token_endpoint.Token(self._url, "token")
        return adapter.Adapter(session.Session(auth=auth), service_type=service_type)


def fake() -> Iterator[ImageSource]:
    source = FakeImages()
    source.add(ID, DATA, "qcow2", name="tiny-fast", properties={"hw_machine_type": "pc"})
    yield source


def files() -> Iterator[ImageSource]:
    with TemporaryDirectory() as directory:
        source = FakeImageSource(Path(directory))
        properties = {"hw_machine_type": "pc"}
        source.add(ID, DATA, "qcow2", name="tiny-fast", properties=properties)
        yield source


def glance() -> Iterator[ImageSource]:
    server = GlanceServer()
    server.add(ID, DATA)
    conf = SimpleNamespace(
        api_servers=None, num_retries=0, verify_glance_signatures=False,
        enable_certificate_validation=False,
    )  # fmt: skip
    yield GlanceImages(conf, UserSessions(server.url))
    server.close()


@pytest.fixture(params=[fake, files, glance], ids=["fake", "files", "glance"])
def source(request: pytest.FixtureRequest) -> Iterator[ImageSource]:
    make: Callable[[], Iterator[ImageSource]] = request.param
    yield from make()


def test_show_tells_what_a_boot_needs(source):
    """Metadata is typed, and properties are plain text values."""
    image = source.show(None, ID)

    assert (image.id, image.name, image.disk_format) == (ID, "tiny-fast", "qcow2")
    assert (image.size, image.status) == (len(DATA), "active")
    assert image.properties["hw_machine_type"] == "pc"
    assert all(isinstance(value, str) for value in image.properties.values())


def test_download_is_the_image(source, tmp_path: Path):
    """The target holds every byte, and nothing else is left beside it."""
    source.download(None, ID, tmp_path / "target")

    assert (tmp_path / "target").read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_unknown_image(source, tmp_path: Path):
    """An image that is not there is named, and nothing is written."""
    other = "00000000-0000-4000-8000-00000000dead"
    with pytest.raises(ImageNotFound, match=other):
        source.show(None, other)
    with pytest.raises(ImageNotFound, match=other):
        source.download(None, other, tmp_path / "target")

    assert list(tmp_path.iterdir()) == []
