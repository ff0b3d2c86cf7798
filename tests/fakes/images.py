"""Fakes of the image service: one in memory, one that speaks Glance's HTTP on a real socket."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nova_lite.drivers.image.base import ImageService
from nova_lite.errors import ImageNotFound, ImageUnacceptable
from nova_lite.model.server import Image

# Read from Glance 33.0.0 (2026.2) with GET /v2/images/{id}, shortened in nothing.
RECORD: dict[str, Any] = {
    "owner_specified.openstack.md5": "",
    "owner_specified.openstack.sha256": "",
    "owner_specified.openstack.object": "images/tiny-fast",
    "hw_machine_type": "pc",
    "name": "tiny-fast",
    "disk_format": "qcow2",
    "container_format": "bare",
    "visibility": "public",
    "size": 20931584,
    "virtual_size": 48234496,
    "status": "active",
    "checksum": "90172a8835192c982903d28d0d203fcb",
    "protected": False,
    "min_ram": 64,
    "min_disk": 1,
    "owner": "a9d8ea9b577f43779323b983d4f016a5",
    "os_hidden": False,
    "os_hash_algo": "sha512",
    "os_hash_value": "6f17738c3bd29f2c98ecd8b7ae68b15e42a67481dc7263639714e659c9eead9c6a5fb012952b0"
    "9fae006b25c9e686291a8efcbd381e33539bc32ece985f97e06",
    "id": "82d72db9-7cf6-43f0-b19b-6c759e07f106",
    "created_at": "2026-11-21T05:56:00Z",
    "updated_at": "2026-11-21T05:56:00Z",
    "tags": [],
    "self": "/v2/images/82d72db9-7cf6-43f0-b19b-6c759e07f106",
    "file": "/v2/images/82d72db9-7cf6-43f0-b19b-6c759e07f106/file",
    "schema": "/v2/schemas/image",
    "stores": "file",
}


def record(image_id: str, data: bytes, **changes: Any) -> dict[str, Any]:
    """What Glance would say of ``data``."""
    return {
        **RECORD,
        "id": image_id,
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        **changes,
    }


class FakeImages(ImageService):
    """Images in memory. ``downloads`` counts; ``delay_s`` makes a download last."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.images: dict[str, tuple[Image, bytes]] = {}
        self.downloads: list[str] = []
        self.delay_s = delay_s

    def add(self, image_id: str, data: bytes, disk_format: str = "raw", **fields: Any) -> Image:
        """Offer an image."""
        image = Image(id=image_id, disk_format=disk_format, size=len(data), **fields)
        self.images[image_id] = (image, data)
        return image

    def show(self, context: object, image_id: str) -> Image:
        return self._find(image_id)[0]

    def download(self, context: object, image_id: str, target: Path) -> None:
        _, data = self._find(image_id)
        self.downloads.append(image_id)
        time.sleep(self.delay_s)
        target.write_bytes(data)

    def await_upload(self, image_id: str, **fields: Any) -> None:
        """Make a record without bytes, as nova-api does for a snapshot."""
        self.images[image_id] = (Image(id=image_id, status="queued", **fields), b"")

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
        image, data = self._find(image_id)
        go_on()
        sent = source.read_bytes()
        if image.status == "active":
            if data != sent:
                raise ImageUnacceptable(f"Image {image_id} has got other bytes")
            return
        made = replace(
            image,
            disk_format=disk_format,
            container_format=container_format,
            properties={**image.properties, **properties},
            size=len(sent),
            status="active",
        )
        self.images[image_id] = (made, sent)

    def status(self, context: object, image_id: str) -> str:
        return self._find(image_id)[0].status

    def delete(self, context: object, image_id: str) -> None:
        self.images.pop(image_id, None)

    def find(self, context: object, properties: Mapping[str, str]) -> list[str]:
        return [
            image_id
            for image_id, (image, _) in reversed(self.images.items())
            if properties.items() <= image.properties.items()
        ]

    def _find(self, image_id: str) -> tuple[Image, bytes]:
        if image_id not in self.images:
            raise ImageNotFound(f"Image {image_id} could not be found")
        return self.images[image_id]


@dataclass
class GlanceServer:
    """A Glance on a real socket.

    ``images`` maps an id to (record, data). ``script`` lists what happens to the next requests for
    data: an HTTP status, ``"cut:N"`` (N bytes, then the connection breaks) or None (all is well);
    ``record_script`` the same for metadata. ``ranges`` tells whether it knows them. ``token`` is
    the only one it accepts; ``seen`` holds (path, Range header).
    """

    images: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    script: list[Any] = field(default_factory=list)
    record_script: list[Any] = field(default_factory=list)
    ranges: bool = True
    token: str = "token"
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        glance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                glance.serve(self)

            do_PATCH = do_PUT = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, image_id: str, data: bytes, **changes: Any) -> None:
        self.images[image_id] = (record(image_id, data, **changes), data)

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.seen.append((request.path, request.headers.get("Range")))
        parts = request.path.strip("/").split("/")
        if request.headers.get("X-Auth-Token") != self.token:
            return _reply(request, 401)
        if parts[:2] != ["v2", "images"] or parts[2] not in self.images:
            return _reply(request, 404)
        about, data = self.images[parts[2]]
        script = self.script if parts[-1] == "file" else self.record_script
        act = script.pop(0) if script else None
        if isinstance(act, int):
            return _reply(request, act)
        if parts[-1] != "file":
            return _reply(request, 200, json.dumps(about).encode())
        start = 0
        wanted = request.headers.get("Range")
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        cut = int(act.split(":")[1]) if act else None
        return _reply(request, 206 if start else 200, data[start:], cut)


def _reply(
    request: BaseHTTPRequestHandler, status: int, body: bytes = b"", cut: int | None = None
) -> None:
    request.send_response(status)
    if status != 204:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[:cut])
    if cut is not None:
        request.close_connection = True
