"""Snapshots to Glance (Image API v2): describe the waiting image, send its bytes, delete, find.

Glance takes an image's bytes once: a broken upload puts the image back to ``queued``, which may
take it a moment, and only then the bytes are sent again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nova_lite.drivers.image.base import ImageStore
from nova_lite.drivers.image.glance_calls import Glance, Lost, check, image_path, request
from nova_lite.errors import (
    DiskError,
    ImageNotFound,
    ImageQuotaExceeded,
    ImageUnacceptable,
)

_CHUNK = 1024 * 1024
PATCH = "application/openstack-images-v2.1-json-patch"
_BYTES = "application/octet-stream"
# Seconds given to Glance to end an upload that broke off, and between two looks.
_SETTLE_S, _LOOK_S = 30.0, 1.0
_BUSY = ("saving", "uploading", "importing")
_GONE = ("deleted", "pending_delete", "killed")
# Refusals that are no better at another try; the rest may be a matter of time.
_FINAL = (400, 405, 406, 411, 415, 422)


class GlanceStore(Glance, ImageStore):
    """The part of the image service that takes images."""

    def upload(
        self,
        context: object,
        image_id: str,
        source: Path,
        *,
        disk_format: str,
        container_format: str,
        properties: Mapping[str, str],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        change = patch(
            {"disk_format": disk_format, "container_format": container_format}, properties
        )
        for server in self._attempts(self._adapter(context), image_id):
            with server as url:
                if self._wants(context, image_id, source, go_on):
                    # A new adapter: the last call may have found the user's token expired.
                    adapter = self._adapter(context)
                    headers = {"Content-Type": PATCH}
                    answer = request(
                        adapter, "PATCH", url, image_path(image_id), headers, data=change
                    )
                    check_taken(answer, image_id)
                    _send(adapter, url, image_id, source, go_on)
                    if self._wants(context, image_id, source, go_on):
                        raise Lost("it took the bytes and has none of them")
                return

    def status(self, context: object, image_id: str) -> str:
        return str(self._record(context, image_id).get("status"))

    def delete(self, context: object, image_id: str) -> None:
        adapter = self._adapter(context)
        for server in self._attempts(adapter, image_id):
            with server as url:
                try:
                    check_taken(request(adapter, "DELETE", url, image_path(image_id)), image_id)
                except ImageNotFound:
                    pass
                return

    def find(self, context: object, properties: Mapping[str, str]) -> list[str]:
        query = {**properties, "sort_key": "created_at", "sort_dir": "desc"}
        path: str | None = f"/v2/images?{urlencode(query)}"
        found: list[str] = []
        while path:
            page = self._json(context, "list", path)
            found += [str(image["id"]) for image in page["images"]]
            path = page.get("next")
        return found

    def _wants(
        self, context: object, image_id: str, source: Path, go_on: Callable[[], None]
    ) -> bool:
        """Whether the image waits for its bytes; False when it has those of ``source``."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            record = self._record(context, image_id)
            status = record.get("status")
            if status == "queued":
                return True
            if status in _GONE:
                raise ImageNotFound(f"Image {image_id} could not be found: it is {status}")
            if status == "active":
                if record.get("size") == source.stat().st_size:
                    return False
                raise ImageUnacceptable(f"Image {image_id} has got other bytes than the snapshot's")
            if status not in _BUSY or time.monotonic() > deadline:
                raise ImageUnacceptable(
                    f"Image {image_id} is {status}: it does not take the snapshot's bytes"
                )
            go_on()
            self._sleep(_LOOK_S)


class _Body:
    """The bytes of a file as ``requests`` sends them: ``len`` becomes the Content-Length."""

    def __init__(self, file: Any, size: int, go_on: Callable[[], None]) -> None:
        self.len = size
        self._file = file
        self._go_on = go_on

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            self._go_on()
            yield chunk


def _send(
    adapter: Any, url: str, image_id: str, source: Path, go_on: Callable[[], None]
) -> None:
    try:
        with open(source, "rb") as file:
            answer = request(
                adapter,
                "PUT",
                url,
                image_path(image_id, "file"),
                {"Content-Type": _BYTES},
                data=_Body(file, source.stat().st_size, go_on),
                # keystoneauth would send the rest of the file once more.
                allow_reauth=False,
            )
    except FileNotFoundError as error:
        raise DiskError(f"The copied disk {source} is gone before its upload") from error
    if answer.status_code == 401 and adapter.invalidate():
        raise Lost("the user's token has expired")
    check_taken(answer, image_id)


def check_taken(response: Any, image_id: str) -> None:
    """Turn an error status of a change into an exception."""
    status = response.status_code
    if status == 413:
        raise ImageQuotaExceeded(f"The image service has no room for image {image_id} (HTTP 413)")
    if status in _FINAL:
        raise ImageUnacceptable(f"The image service refuses image {image_id} (HTTP {status})")
    check(response, image_id)


def patch(record: Mapping[str, str], properties: Mapping[str, str]) -> str:
    """A JSON patch; ``add`` also replaces a property that is there."""
    return json.dumps(
        [
            *({"op": "replace", "path": f"/{name}", "value": v} for name, v in record.items()),
            *({"op": "add", "path": f"/{_escaped(n)}", "value": v} for n, v in properties.items()),
        ]
    )


def _escaped(name: str) -> str:
    """A property's name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
