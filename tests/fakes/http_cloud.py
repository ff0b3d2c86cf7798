"""A Keystone on a real socket, to which fake services can be added; for tests of REST clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PASSWORD = "right"


@dataclass
class Call:
    """One request as a service saw it; ``query`` holds lists."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any = None


@dataclass
class Reply:
    """``body`` is sent as JSON, bytes as they are."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False  # do the work, but lose the answer: cut the connection


class HttpCloud:
    """Keystone v3 with password authentication under /identity, services under /<name>.

    ``services`` maps a name to (service type, handler); ``tokens`` holds what is accepted.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.identity: list[str] = []  # what Keystone was asked
        self.tokens: dict[str, str] = {}
        self.logins: list[str] = []
        self.services: dict[str, tuple[str, Callable[[Call], Reply]]] = {}
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one packet: no wait for delayed ACKs

            def log_message(self, *args: Any) -> None:
                pass

            def _serve(self) -> None:
                url = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                call = Call(
                    self.command,
                    url.path,
                    parse_qs(url.query, keep_blank_values=True),
                    dict(self.headers.items()),
                    json.loads(raw) if raw else None,
                )
                reply = cloud.answer(call)
                if reply.drop:
                    self.close_connection = True
                    self.connection.close()
                    return
                raw_reply = isinstance(reply.body, bytes)
                data = reply.body if raw_reply else json.dumps(reply.body).encode()
                if reply.status == 204:
                    data = b""
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                kind = "application/octet-stream" if raw_reply else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.auth_url = f"{self.url}/identity"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def credentials(self, user: str, password: str = PASSWORD) -> dict[str, str]:
        """Options of nova.conf that log in as ``user``."""
        return {
            "auth_type": "password",
            "auth_url": self.auth_url,
            "username": user,
            "password": password,
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    def answer(self, call: Call) -> Reply:
        """Serve one request."""
        if call.path.startswith("/identity"):
            return self._identity(call)
        self.calls.append(call)
        name = call.path.split("/")[1]
        if call.headers.get("X-Auth-Token") not in self.tokens:
            return Reply(401, {"error": {"message": "who are you?"}})
        call.path = call.path[len(name) + 1 :]
        return self.services[name][1](call)

    def _identity(self, call: Call) -> Reply:
        self.identity.append(f"{call.method} {call.path.removeprefix('/identity')}")
        if call.method == "GET":
            version = {
                "id": "v3.14",
                "status": "stable",
                "links": [{"rel": "self", "href": f"{self.auth_url}/v3/"}],
            }
            if call.path.rstrip("/").endswith("v3"):
                return Reply(200, {"version": version})
            return Reply(300, {"versions": {"values": [version]}})
        user = call.body["auth"]["identity"]["password"]["user"]
        if user["password"] != PASSWORD:
            return Reply(401, {"error": {"message": "The request requires authentication"}})
        self.logins.append(user["name"])
        token = f"token-{user['name']}-{len(self.logins)}"
        self.tokens[token] = user["name"]
        return Reply(201, {"token": self._token_body(user["name"])}, {"X-Subject-Token": token})

    def _token_body(self, user: str) -> dict[str, Any]:
        return {
            "methods": ["password"],
            "user": {"id": f"id-{user}", "name": user, "domain": {"id": "d", "name": "Default"}},
            "project": {"id": "service", "name": "service", "domain": {"id": "d", "name": "D"}},
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "roles": [{"id": "r", "name": "service"}],
            "catalog": [
                {
                    "type": service_type,
                    "name": name,
                    "id": name,
                    "endpoints": [
                        {
                            "id": f"{name}-{interface}",
                            "interface": interface,
                            "region": "RegionOne",
                            "region_id": "RegionOne",
                            "url": f"{self.url}/{name}",
                        }
                        for interface in ("public", "internal")
                    ],
                }
                for name, (service_type, _) in self.services.items()
            ],
        }
