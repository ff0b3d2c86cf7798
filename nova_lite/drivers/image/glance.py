"""Images from Glance (Image API v2): metadata, and verified downloads that outlive connections.

See https://docs.openstack.org/api-ref/image/v2/ for the fields and the meaning of the answers.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from nova_lite.drivers.disk import durable, space
from nova_lite.drivers.image.base import ImageSource
from nova_lite.errors import (
    ImageCorrupt,
    ImageNotAuthorized,
    ImageNotFound,
    ImageUnacceptable,
    ImageUnavailable,
    InvalidConfiguration,
)
from nova_lite.model.server import Image

LOG = logging.getLogger(__name__)

_CHUNK = 1024 * 1024
_RETRY_DELAY_S = 1.0
# Fields of the image record itself; every other text is a property of the image.
_RECORD = frozenset(
    "id name status visibility protected checksum os_hash_algo os_hash_value os_hidden owner size "
    "virtual_size container_format disk_format created_at updated_at min_disk min_ram tags self "
    "file schema direct_url locations stores".split()
)
_REFUSED = {401: ImageNotAuthorized, 403: ImageNotAuthorized}
_GONE = (404, 410)


class UserSessions(Protocol):
    """The one thing needed of ``clients.session.Sessions``."""

    def user(self, group: str, service_type: str, context: Any) -> Any: ...


class _Lost(Exception):
    """A server could not be reached, broke off, or answered 5xx: try the next one."""


class GlanceImages(ImageSource):
    """Glance, found through the service catalog or [glance]api_servers."""

    def __init__(
        self, conf: Any, sessions: UserSessions, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """
        :param conf: values of [glance]: ``api_servers``, ``num_retries``
        :param sessions: gives an adapter that speaks with the user's credentials
        :param sleep: waits between attempts
        :raises InvalidConfiguration: signatures are to be verified, which is not supported
        """
        if conf.verify_glance_signatures:
            raise InvalidConfiguration(
                "[glance]verify_glance_signatures is not supported: turn it off, or run "
                "nova-compute on this host"
            )
        self._conf = conf
        self._sessions = sessions
        self._sleep = sleep

    def show(self, context: object, image_id: str) -> Image:
        record = self._record(context, image_id)
        return Image(
            id=record["id"],
            name=record.get("name") or "",
            disk_format=record.get("disk_format"),
            container_format=record.get("container_format"),
            checksum=record.get("checksum"),
            size=record.get("size") or 0,
            min_disk=record.get("min_disk") or 0,
            min_ram=record.get("min_ram") or 0,
            status=record.get("status") or "",
            properties={
                name: value
                for name, value in record.items()
                if name not in _RECORD and isinstance(value, str)
            },
        )

    def download(self, context: object, image_id: str, target: Path) -> None:
        record = self._record(context, image_id)
        if record.get("status") != "active":
            raise ImageUnacceptable(
                f"Image {image_id} is {record.get('status')}, not active: it has no data to use"
            )
        size = record.get("size") or 0
        with space.reported(target, size):
            space.require(target, size)
            with durable.made_whole(target) as part:
                with open(part, "xb") as file:
                    self._fill(context, image_id, _Download(file, record))

    def _record(self, context: object, image_id: str) -> dict[str, Any]:
        adapter = self._sessions.user("glance", "image", context)
        for server in self._attempts(adapter, image_id):
            with server as url:
                response = _get(adapter, url, _path(image_id))
                _check(response, image_id)
                try:
                    record: dict[str, Any] = response.json()
                    return record
                except ValueError:
                    raise _Lost("the answer is not JSON") from None
        raise AssertionError("the last attempt raises")

    def _fill(self, context: object, image_id: str, download: _Download) -> None:
        adapter = self._sessions.user("glance", "image", context)
        for server in self._attempts(adapter, image_id):
            with server as url:
                headers = download.headers()
                response = _get(adapter, url, _path(image_id, "file"), headers, stream=True)
                try:
                    _check(response, image_id)
                    download.receive(response)
                finally:
                    response.close()
                download.verify()
                return

    def _attempts(self, adapter: Any, image_id: str) -> Iterator[_Attempt]:
        """1 + [glance]num_retries attempts, each at the next of the configured servers."""
        servers = list(self._conf.api_servers or ())
        random.shuffle(servers)  # spreads the load of many hosts
        urls = itertools.cycle(servers or [_endpoint(adapter)])
        last = self._conf.num_retries
        for number in range(last + 1):
            attempt = _Attempt(next(urls), image_id, final=number == last)
            yield attempt
            self._sleep(_RETRY_DELAY_S)


class _Attempt:
    """One try at one server: swallows a lost connection, unless it was the last try."""

    def __init__(self, url: str, image_id: str, *, final: bool) -> None:
        self._url = url.rstrip("/").removesuffix("/v2")
        self._image_id = image_id
        self._final = final

    def __enter__(self) -> str:
        return self._url

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, _Lost):
            return False
        LOG.warning("Image service at %s, image %s: %s", self._url, self._image_id, exc)
        if self._final:
            raise ImageUnavailable(
                f"The image service at {self._url} does not deliver image {self._image_id}: {exc}"
            ) from exc
        return True


class _Download:
    """The bytes received so far, their digest, and what the record promises of them."""

    def __init__(self, file: Any, record: dict[str, Any]) -> None:
        self._file = file
        self._id = record["id"]
        self._size: int | None = record.get("size")
        self._algorithm, self._expected = _promise(record)
        self._received = 0
        self._digest = self._new_digest()

    def headers(self) -> dict[str, str]:
        """Ask for what is missing; as it is, since digest and offset are of the plain bytes."""
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
        return headers

    def receive(self, response: Any) -> None:
        """Write the body behind what is there already; raises _Lost, OSError, ImageUnacceptable."""
        if response.status_code == 204:
            raise ImageUnacceptable(f"Image {self._id} has no data: upload it again")
        if self._received and response.status_code != 206:  # ranges are not supported there
            self._start_over()
        announced = int(response.headers.get("Content-Length") or 0)
        for chunk in _chunks(response):
            self._file.write(chunk)
            self._digest.update(chunk)
            self._received += len(chunk)
            announced -= len(chunk)
            if self._size is not None and self._received > self._size:
                break
        self._file.flush()
        if announced > 0:  # not every release of urllib3 tells
            raise _Lost(f"the connection broke {announced} bytes before the end")

    def verify(self) -> None:
        """Compare with the record; raises ImageCorrupt."""
        if self._size is not None and self._received != self._size:
            raise ImageCorrupt(
                f"Image {self._id} has {self._received} bytes instead of {self._size}: "
                "upload it again"
            )
        if self._expected and self._digest.hexdigest() != self._expected:
            raise ImageCorrupt(
                f"Image {self._id} does not match its {self._algorithm} digest: upload it again"
            )

    def _start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._received = 0
        self._digest = self._new_digest()

    def _new_digest(self) -> Any:
        return hashlib.new(self._algorithm, usedforsecurity=False)


def _promise(record: dict[str, Any]) -> tuple[str, str | None]:
    """(hash algorithm, hex digest): the multihash, or else the legacy MD5 checksum."""
    algorithm, value = record.get("os_hash_algo"), record.get("os_hash_value")
    if algorithm and value and algorithm in hashlib.algorithms_available:
        return algorithm, value
    return "md5", record.get("checksum")


def _path(image_id: str, part: str = "") -> str:
    return f"/v2/images/{quote(image_id, safe='')}" + (f"/{part}" if part else "")


def _endpoint(adapter: Any) -> str:
    url = adapter.get_endpoint()
    if not url:
        raise ImageUnavailable(
            "The service catalog has no image service for this region and interface: "
            "check region_name and valid_interfaces in [glance]"
        )
    return str(url)


def _get(
    adapter: Any,
    url: str,
    path: str,
    headers: dict[str, str] | None = None,
    stream: bool = False,
) -> Any:
    from keystoneauth1 import exceptions

    try:
        return adapter.get(
            path,
            endpoint_override=url,
            headers=headers or {},
            stream=stream,
            raise_exc=False,
            connect_retries=0,  # repeated here, at the next server
            status_code_retries=0,
        )
    except exceptions.ConnectionError as exc:
        raise _Lost(str(exc)) from exc


def _chunks(response: Any) -> Iterator[bytes]:
    import requests

    try:
        yield from response.iter_content(_CHUNK)
    except (requests.RequestException, OSError) as exc:  # urllib3 lets some of the latter through
        raise _Lost(f"the connection broke ({exc})") from exc


def _check(response: Any, image_id: str) -> None:
    """Turn an error status into an exception."""
    status = response.status_code
    if status < 300:
        return
    if status in _GONE:
        raise ImageNotFound(f"Image {image_id} could not be found")
    if status in _REFUSED:
        raise _REFUSED[status](
            f"The image service refuses image {image_id} to this user (HTTP {status}): check its "
            "visibility, and that it is not deactivated"
        )
    raise _Lost(f"it answered HTTP {status}")
