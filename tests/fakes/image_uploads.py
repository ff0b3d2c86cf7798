"""A Glance on a real socket that takes images, too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.images import RECORD, GlanceServer, _reply, record

PAGE = 2  # images in one answer to a list


@dataclass
class UploadServer(GlanceServer):
    """As Glance 33: bytes are taken once, by an image that is queued.

    ``upload_script`` lists what happens to the next uploads: an HTTP status, ``"cut:N"`` (N bytes
    are read, then the connection breaks and the image is ``saving`` for another ``settles`` looks)
    or None. ``sent`` holds (method, path, headers) of everything but GET.
    """

    upload_script: list[Any] = field(default_factory=list)
    settles: int = 1
    sent: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def await_upload(self, image_id: str, **fields: Any) -> None:
        """Make a record without bytes, as nova-api does for a snapshot."""
        about = {**RECORD, "id": image_id, "status": "queued", "size": None, "checksum": None}
        self.images[image_id] = ({**about, "disk_format": None, **fields}, b"")

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        image_id = (url.path.split("/") + [""] * 4)[3]
        if request.command == "GET" and url.path == "/v2/images":
            return self._list(request, dict(parse_qsl(url.query)))
        if request.command == "GET":
            self._settle(image_id)
            return super().serve(request)
        self.sent.append((request.command, url.path, dict(request.headers)))
        if request.headers.get("X-Auth-Token") != self.token:
            request.close_connection = True
            return _reply(request, 401)
        if image_id not in self.images:
            request.close_connection = True
            return _reply(request, 404)
        if request.command == "DELETE":
            del self.images[image_id]
            return _reply(request, 204)
        if request.command == "PATCH":
            return self._patch(request, image_id)
        return self._take(request, image_id)

    def _list(self, request: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        assert (query.pop("sort_key"), query.pop("sort_dir")) == ("created_at", "desc")
        after = query.pop("marker", None)
        found = [
            about for about, _ in reversed(self.images.values()) if query.items() <= about.items()
        ]
        ids = [about["id"] for about in found]
        start = ids.index(after) + 1 if after else 0
        page = found[start : start + PAGE]
        answer: dict[str, Any] = {"images": page}
        if start + PAGE < len(found):
            answer["next"] = f"{request.path}&marker={page[-1]['id']}"
        _reply(request, 200, json.dumps(answer).encode())

    def _settle(self, image_id: str) -> None:
        about, data = self.images.get(image_id, ({}, b""))
        if about.get("status") == "saving":
            about["left"] = about.get("left", self.settles) - 1
            if about["left"] < 0:
                about.update(status="queued")
                del about["left"]

    def _patch(self, request: BaseHTTPRequestHandler, image_id: str) -> None:
        about, _ = self.images[image_id]
        for change in json.loads(request.rfile.read(int(request.headers["Content-Length"]))):
            name = change["path"].removeprefix("/").replace("~1", "/").replace("~0", "~")
            if name == "disk_format" and about["status"] != "queued":
                return _reply(request, 403)
            if change["op"] == "replace" and name not in about:
                return _reply(request, 409)
            about[name] = change["value"]
        return _reply(request, 200, json.dumps(about).encode())

    def _take(self, request: BaseHTTPRequestHandler, image_id: str) -> None:
        about, _ = self.images[image_id]
        act = self.upload_script.pop(0) if self.upload_script else None
        size = int(request.headers["Content-Length"])
        data = request.rfile.read(int(act.split(":")[1]) if isinstance(act, str) else size)
        if len(data) < size:
            about["status"] = "saving"
            request.close_connection = True
            return None
        if isinstance(act, int):
            return _reply(request, act)
        if about["status"] != "queued":
            return _reply(request, 409)
        full = record(image_id, data)
        about.update({k: full[k] for k in ("size", "checksum", "os_hash_value")}, status="active")
        self.images[image_id] = (about, data)
        return _reply(request, 204)
