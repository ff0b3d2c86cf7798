"""Images from Glance (Image API v2): metadata, and verified downloads that outlive connections.

See https://docs.openstack.org/api-ref/image/v2/ for the fields and the meaning of the answers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import durable, space
from nova_lite.drivers.image.base import ImageService
from nova_lite.drivers.image.glance_calls import Lost, UserSessions, check, image_path, request
from nova_lite.drivers.image.glance_locations import GlanceLocations
from nova_lite.drivers.image.glance_store import GlanceStore
from nova_lite.errors import ImageCorrupt, ImageUnacceptable, InvalidConfiguration
from nova_lite.model.server import Image

_CHUNK = 1024 * 1024
# Fields of the image record itself; every other text is a property of the image.
_RECORD = frozenset(
    "id name status visibility protected checksum os_hash_algo os_hash_value os_hidden owner size "
    "virtual_size container_format disk_format created_at updated_at min_disk min_ram tags self "
    "file schema direct_url locations stores".split()
)


class GlanceImages(GlanceStore, GlanceLocations, ImageService):
    """Glance: images come from there and, as snapshots, go there."""

    def __init__(
        self, conf: Any, sessions: UserSessions, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Arguments as of ``glance_calls.Glance``.

        :raises InvalidConfiguration: signatures are to be verified, which is not supported
        """
        if conf.verify_glance_signatures:
            raise InvalidConfiguration(
                "[glance]verify_glance_signatures is not supported: turn it off, or run "
                "nova-compute on this host"
            )
        if conf.enable_certificate_validation and conf.default_trusted_certificate_ids:
            raise InvalidConfiguration(
                "[glance]enable_certificate_validation with default_trusted_certificate_ids asks "
                "for signed images, which this agent cannot verify: turn it off, or run "
                "nova-compute on this host"
            )
        super().__init__(conf, sessions, sleep=sleep)

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
            locations=_locations(record),
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

    def _fill(self, context: object, image_id: str, download: _Download) -> None:
        adapter = self._adapter(context)
        for server in self._attempts(adapter, image_id):
            with server as url:
                headers = download.headers()
                response = request(
                    adapter, "GET", url, image_path(image_id, "file"), headers, stream=True
                )
                try:
                    check(response, image_id)
                    download.receive(response)
                finally:
                    response.close()
                download.verify()
                return


def _locations(record: dict[str, Any]) -> tuple[str, ...]:
    """Where Glance says that the bytes are; addresses of other storage may hold passwords."""
    found = [entry.get("url") for entry in record.get("locations") or ()]
    return tuple(
        dict.fromkeys(
            url for url in (*found, record.get("direct_url")) if url and url.startswith("rbd://")
        )
    )


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
        """Write the body behind what is there already; raises Lost, OSError, ImageUnacceptable."""
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
            raise Lost(f"the connection broke {announced} bytes before the end")

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


def _chunks(response: Any) -> Iterator[bytes]:
    import requests

    try:
        yield from response.iter_content(_CHUNK)
    except (requests.RequestException, OSError) as exc:  # urllib3 lets some of the latter through
        raise Lost(f"the connection broke ({exc})") from exc
