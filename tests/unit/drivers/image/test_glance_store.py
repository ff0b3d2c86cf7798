"""Uploads to Glance over a real socket: lost connections, refusals, expired tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.drivers.image.glance import GlanceImages
from nova_lite.errors import (
    ImageNotAuthorized,
    ImageNotFound,
    ImageQuotaExceeded,
    ImageUnacceptable,
    ImageUnavailable,
)
from tests.fakes.image_uploads import UploadServer
from tests.unit.drivers.image.test_glance import UserSessions

DATA = os.urandom(3 * 1024 * 1024)
ID = "82d72db9-7cf6-43f0-b19b-6c759e07f106"
HOW: dict[str, Any] = {"disk_format": "raw", "container_format": "bare", "properties": {"a/b": "c"}}


@pytest.fixture
def server() -> Iterator[UploadServer]:
    glance = UploadServer()
    glance.await_upload(ID)
    yield glance
    glance.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.write_bytes(DATA)
    return path


def store(server: UploadServer, retries: int = 3) -> GlanceImages:
    conf = SimpleNamespace(
        api_servers=None, num_retries=retries, verify_glance_signatures=False,
        enable_certificate_validation=False,
    )  # fmt: skip
    return GlanceImages(conf, UserSessions(server.url), sleep=lambda seconds: None)


def uploads(server: UploadServer) -> int:
    return [method for method, _, _ in server.sent].count("PUT")


def test_the_bytes_go_in_one_piece_of_known_length(server: UploadServer, copy: Path) -> None:
    """Glance checks quotas against Content-Length; names of properties are escaped."""
    store(server).upload(None, ID, copy, **HOW)

    method, path, headers = server.sent[-1]
    assert (method, path) == ("PUT", f"/v2/images/{ID}/file")
    assert headers["Content-Length"] == str(len(DATA))
    about, data = server.images[ID]
    assert (data == DATA, about["a/b"]) == (True, "c")


@pytest.mark.parametrize("problem", ["cut:1000000", 500, 503, 409])
def test_a_broken_upload_is_begun_anew(
    server: UploadServer, copy: Path, problem: int | str
) -> None:
    """From the first byte, once Glance has put the image back to queued."""
    server.upload_script = [problem]
    store(server).upload(None, ID, copy, **HOW)

    assert server.images[ID][1] == DATA
    assert uploads(server) == 2


def test_without_more_tries_it_is_unavailable(server: UploadServer, copy: Path) -> None:
    """The error names the service, so that the caller may wait for it."""
    server.upload_script = [503, 503]
    with pytest.raises(ImageUnavailable, match="503"):
        store(server, retries=1).upload(None, ID, copy, **HOW)


@pytest.mark.parametrize(
    ("status", "error"),
    [(413, ImageQuotaExceeded), (403, ImageNotAuthorized), (415, ImageUnacceptable),
     (410, ImageNotFound)],
)  # fmt: skip
def test_a_refusal_is_final(
    server: UploadServer, copy: Path, status: int, error: type[Exception]
) -> None:
    """Sending gigabytes again would not help."""
    server.upload_script = [status]
    with pytest.raises(error, match=ID):
        store(server).upload(None, ID, copy, **HOW)

    assert uploads(server) == 1


def test_an_image_that_never_settles_is_refused(
    server: UploadServer, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Glance that was killed leaves it in saving for ever."""
    monkeypatch.setattr("nova_lite.drivers.image.glance_store._SETTLE_S", 0.0)
    server.settles = 1000
    server.images[ID][0]["status"] = "saving"
    with pytest.raises(ImageUnacceptable, match="saving"):
        store(server).upload(None, ID, copy, **HOW)


def test_other_bytes_are_not_taken_for_ours(server: UploadServer, copy: Path) -> None:
    """Somebody else has filled the image meanwhile."""
    server.add(ID, b"other bytes")
    with pytest.raises(ImageUnacceptable, match="other bytes"):
        store(server).upload(None, ID, copy, **HOW)

    assert uploads(server) == 0


def test_nothing_is_sent_with_a_token_that_is_refused(server: UploadServer, copy: Path) -> None:
    """The record is asked for first: bytes go to nobody who refuses them."""
    server.token = "another"
    with pytest.raises(ImageNotAuthorized):
        store(server).upload(None, ID, copy, **HOW)

    assert uploads(server) == 0


def test_all_pages_are_read(server: UploadServer) -> None:
    """Newest first; what is deleted is not listed any more."""
    for number in range(5):
        server.await_upload(f"0000{number}", image_type="backup")
    found = store(server).find(None, {"image_type": "backup"})
    assert found == [f"0000{number}" for number in (4, 3, 2, 1, 0)]

    store(server).delete(None, found[0])
    assert len(store(server).find(None, {"image_type": "backup"})) == 4
