"""Glance over a real socket: lost connections, lies, refusals, a full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.drivers.image.glance import GlanceImages
from nova_lite.errors import (
    DiskFull,
    ImageCorrupt,
    ImageNotAuthorized,
    ImageNotFound,
    ImageUnacceptable,
    ImageUnavailable,
    InvalidConfiguration,
)
from tests.fakes.images import GlanceServer

DATA = os.urandom(3 * 1024 * 1024)
ID = "82d72db9-7cf6-43f0-b19b-6c759e07f106"
FILE = f"/v2/images/{ID}/file"


class UserSessions:
    def __init__(self, url: str, token: str = "token") -> None:
        self._url = url
        self._token = token

    def user(self, group: str, service_type: str, context: Any) -> Any:
        from keystoneauth1 import adapter, session, token_endpoint

        assert (group, service_type) == ("glance", "image")
        auth = token_endpoint.Token(self._url, self._token)
        return adapter.Adapter(session.Session(auth=auth), service_type=service_type)


@pytest.fixture
def server() -> Iterator[GlanceServer]:
    glance = GlanceServer()
    glance.add(ID, DATA)
    yield glance
    glance.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "image"


def images(url: str, retries: int = 3, servers: list[str] | None = None, **kwargs: Any):
    conf = SimpleNamespace(
        api_servers=servers, num_retries=retries, verify_glance_signatures=False,
        enable_certificate_validation=False,
    )  # fmt: skip
    slept: list[float] = kwargs.pop("slept", [])
    return GlanceImages(conf, UserSessions(url, **kwargs), sleep=slept.append)


def test_show_keeps_what_is_no_property_out_of_properties(server):
    """Properties are the image's own, not the fields of its record."""
    image = images(server.url).show(None, ID)

    assert (image.min_disk, image.min_ram, image.container_format) == (1, 64, "bare")
    assert set(image.properties) == {
        "hw_machine_type",
        "owner_specified.openstack.md5",
        "owner_specified.openstack.sha256",
        "owner_specified.openstack.object",
    }


def test_broken_connection_goes_on_where_it_broke_off(server, target):
    """A download continues at the byte where the connection was lost."""
    server.script = ["cut:2200000", "cut:100"]
    images(server.url).download(None, ID, target)

    assert target.read_bytes() == DATA
    offsets = [wanted for path, wanted in server.seen if path == FILE]
    assert offsets == [None, "bytes=2097152-", "bytes=2097152-"]  # whole chunks of 1 MiB count


def test_server_without_ranges_starts_over(server, target):
    """Where ranges are ignored the file begins anew instead of growing twice."""
    server.ranges = False
    server.script = ["cut:2000000"]
    images(server.url).download(None, ID, target)

    assert target.read_bytes() == DATA


def test_server_error_is_retried_then_reported(server, target):
    """503 is tried num_retries times more; then the error names server and image."""
    server.script = [503] * 3
    slept: list[float] = []
    with pytest.raises(ImageUnavailable, match=rf"{server.url}.*{ID}.*503"):
        images(server.url, retries=2, slept=slept).download(None, ID, target)

    assert len([path for path, _ in server.seen if path == FILE]) == 3
    assert slept == [1.0, 1.0]
    assert not list(target.parent.iterdir())


def test_next_server_takes_over(server, target):
    """A dead entry of api_servers costs one attempt."""
    dead = "http://127.0.0.1:1"
    source = images("http://unused.invalid", retries=1, servers=[dead, f"{server.url}/v2/"])
    source.download(None, ID, target)

    assert target.read_bytes() == DATA


def test_no_server_answers(target):
    """A refused connection everywhere means unavailable."""
    with pytest.raises(ImageUnavailable):
        images("http://127.0.0.1:1", retries=1).download(None, ID, target)


def test_wrong_digest(server, target):
    """Other bytes than the digest promises are thrown away."""
    server.add(ID, DATA, os_hash_value="0" * 128)
    with pytest.raises(ImageCorrupt, match=f"{ID} does not match its sha512"):
        images(server.url).download(None, ID, target)

    assert not list(target.parent.iterdir())


def test_legacy_checksum_is_verified(server, target):
    """Images from before the multihash are checked by their MD5."""
    server.add(ID, DATA, os_hash_algo=None, os_hash_value=None, checksum="0" * 32)
    with pytest.raises(ImageCorrupt, match="md5"):
        images(server.url).download(None, ID, target)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_wrong_size(server, target, size):
    """More or fewer bytes than promised are a corrupt image."""
    server.add(ID, DATA, size=size)
    with pytest.raises(ImageCorrupt, match=f"instead of {size}"):
        images(server.url).download(None, ID, target)

    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, ImageNotAuthorized), (404, ImageNotFound), (204, ImageUnacceptable)],
)
def test_refusals_are_not_repeated(server, target, status, error):
    """What another attempt cannot change is reported at once."""
    server.script = [status]
    with pytest.raises(error, match=ID):
        images(server.url).download(None, ID, target)

    assert len([path for path, _ in server.seen if path == FILE]) == 1


def test_unaccepted_token(server, target):
    """A token that Glance does not accept means not authorized, and never shows."""
    with pytest.raises(ImageNotAuthorized) as caught:
        images(server.url, token="s3cret-token").show(None, ID)

    assert "s3cret-token" not in str(caught.value)


def test_image_that_is_not_active(server, target):
    """A queued image is refused before anything is written."""
    server.add(ID, b"", status="queued", size=None)
    with pytest.raises(ImageUnacceptable, match="queued"):
        images(server.url).download(None, ID, target)


def test_metadata_survives_a_failing_server(server):
    """Reading metadata is repeated too."""
    server.record_script = [500]

    assert images(server.url).show(None, ID).name == "tiny-fast"


def test_leftover_of_a_killed_download_is_replaced(server, target):
    """Half a file of a killed agent does not end up in the image."""
    target.with_name("image.part").write_bytes(b"half")
    images(server.url).download(None, ID, target)

    assert target.read_bytes() == DATA
    assert [entry.name for entry in target.parent.iterdir()] == ["image"]


def test_too_large_for_the_disk_is_known_before_the_download(server, tmp_path, target):
    """An image larger than the free space is not even asked for."""
    server.add(ID, DATA, size=10**18)
    with pytest.raises(DiskFull, match=rf"{target}: {10**18} bytes are needed, \d+ bytes are free"):
        images(server.url).download(None, ID, target)

    assert [path for path, _ in server.seen if path == FILE] == []


def test_disk_full_on_the_way(server, tmp_path):
    """A file system that fills up during the download is reported, and cleaned."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        server.add(ID, DATA, size=None)  # not known in advance
        with pytest.raises(DiskFull, match="No room for"):
            images(server.url).download(None, ID, mount / "image")
        assert list(mount.iterdir()) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_signatures_are_not_silently_ignored():
    """A host that must verify signatures learns that this agent does not."""
    conf = SimpleNamespace(api_servers=None, num_retries=0, verify_glance_signatures=True)
    with pytest.raises(InvalidConfiguration, match="verify_glance_signatures"):
        GlanceImages(conf, UserSessions("http://unused.invalid"))


def test_certificates_that_are_trusted_by_default_are_not_silently_ignored():
    """Without any, nova-compute verifies nothing either."""
    conf = SimpleNamespace(
        api_servers=None, num_retries=0, verify_glance_signatures=False,
        enable_certificate_validation=True, default_trusted_certificate_ids=["c1"],
    )  # fmt: skip
    with pytest.raises(InvalidConfiguration, match="enable_certificate_validation"):
        GlanceImages(conf, UserSessions("http://unused.invalid"))

    conf.default_trusted_certificate_ids = []
    GlanceImages(conf, UserSessions("http://unused.invalid"))


@pytest.mark.parametrize(
    "url", ["http://glance:9292", "http://glance:9292/", "http://glance:9292/v2"]
)
def test_the_address_of_an_image_as_notifications_tell_it(url):
    """From the catalog or from [glance]api_servers, without the API's version."""
    wanted = "http://glance:9292/images/i1"

    assert images(url).url(None, "i1") == wanted
    assert images("http://other", servers=[url]).url(None, "i1") == wanted


def test_an_image_without_an_address_is_told_by_its_id():
    """A catalog that has no image service is no reason to fail."""
    assert images("").url(None, "i1") == "i1"
