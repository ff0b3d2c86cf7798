"""A Manila for this cloud: a stand-in that Keystone's catalog names for a while.

    python -m tests.cloud.support.manila PORT LEDGER

answers on 127.0.0.1. It runs twice, for the control plane and inside the host under test, each of
which has a loopback address of its own; both keep what they know in one file. The shares are
directories of this machine: see ``mount.nfs`` in devstack/tools.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import DevCloud
from tests.fakes.cloud import Ledger
from tests.fakes.http_cloud import Call, Reply
from tests.fakes.manila import Rules, serve

NAME = "nlt-manila"
PORT = 18786
REPOSITORY = Path(__file__).parents[3]


class Manila:
    """The stand-in as a test sees it."""

    def __init__(self, cloud: DevCloud, directory: Path) -> None:
        self.ledger = Ledger(directory / "manila.json")
        self.rules = Rules(self.ledger)
        self._shares = cloud.state / "data" / "nfs"

    def create(self, *, gone: bool = False) -> tuple[str, Path]:
        """A share on NFS: its id and its directory; ``gone``: one that cannot be mounted."""
        share_id = str(uuid.uuid4())
        path = self._shares / f"share-{share_id}"
        if not gone:
            path.mkdir()
        self.rules.add_share(share_id)
        with self.ledger.open() as content:
            content.setdefault("exports", {})[share_id] = f"127.0.0.1:{path}"
        return share_id, path


    def clear(self) -> None:
        """Remove what was in the shares."""
        for export in self.ledger.read().get("exports", {}).values():
            shutil.rmtree(export.partition(":")[2], ignore_errors=True)


@contextlib.contextmanager
def running(cloud: DevCloud, api: Api, node: str, directory: Path) -> Iterator[Manila]:
    """Have it run, be in the catalog, and be known to the host's agent."""
    ledger = str(directory / "manila.json")
    command = [sys.executable, "-m", "tests.cloud.support.manila", str(PORT), ledger]
    inside = [str(REPOSITORY / "devstack" / "cloud"), "node", node, "exec", "env",
              f"PYTHONPATH={REPOSITORY}", *command]  # fmt: skip
    options = f"[manila]\nendpoint_override = http://127.0.0.1:{PORT}/v2"
    with contextlib.ExitStack() as stack:
        for words in (command, inside):
            program = subprocess.Popen(
                words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert program.stdin is not None and program.stdout is not None
            stack.callback(program.wait)
            stack.callback(program.stdin.close)
            assert program.stdout.readline() == b"ready\n"
        stack.callback(_forget, api)
        _announce(api)
        stack.enter_context(cloud.options(node, options))
        manila = Manila(cloud, directory)
        stack.callback(manila.clear)
        yield manila


def _announce(api: Api) -> None:
    _forget(api)
    identity = api.connection.identity
    service = identity.create_service(name=NAME, type="sharev2")
    identity.create_endpoint(
        service_id=service.id, interface="public", region_id="RegionOne",
        url=f"http://127.0.0.1:{PORT}/v2",
    )  # fmt: skip


def _forget(api: Api) -> None:
    identity = api.connection.identity
    for service in identity.services(name=NAME):
        identity.delete_service(service)


def _version(port: int) -> dict[str, Any]:
    link = {"rel": "self", "href": f"http://127.0.0.1:{port}/v2/"}
    return {"id": "v2.0", "status": "CURRENT", "version": "2.90", "min_version": "2.0",
            "updated": "2015-08-27T11:33:21Z", "links": [link], "media-types": []}  # fmt: skip


def _answer(ledger: Ledger, call: Call, port: int) -> Reply:
    parts = call.path.strip("/").split("/")
    if parts in ([""], ["v2"]):
        return Reply(200 if parts == ["v2"] else 300, {"versions": [_version(port)]})
    exports = ledger.read().get("exports", {})
    if call.method == "GET" and parts[:2] == ["v2", "shares"] and parts[2] in exports:
        if parts[3:] == ["export_locations"]:
            place = {"id": parts[2], "path": exports[parts[2]], "preferred": True}
            return Reply(200, {"export_locations": [place]})
        share = {
            "id": parts[2], "status": "available", "share_proto": "NFS", "size": 1,
            "name": "a share", "project_id": "p", "metadata": {}, "is_public": False,
        }  # fmt: skip
        return Reply(200, {"share": share})
    return serve(Rules(ledger), call)


def main() -> None:
    port, ledger = int(sys.argv[1]), Ledger(Path(sys.argv[2]))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def _serve(self) -> None:
            url, size = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            call = Call(self.command, url.path, parse_qs(url.query), dict(self.headers), body)
            reply = _answer(ledger, call, port)
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(reply.body).encode())

        do_GET = do_POST = _serve

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()  # until whoever has started it ends


if __name__ == "__main__":
    main()
