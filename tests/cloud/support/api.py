"""The cloud's REST APIs, as a user or an administrator calls them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cloud.support import lanes
from tests.cloud.support.devcloud import CloudError, DevCloud, wait_for

MICROVERSION = "2.96"
PLACEMENT_VERSION = "1.39"
BOOT_SECONDS = 180  # patience for a server to become ACTIVE; a timed-out port costs 120 s
GUEST_SECONDS = 120  # patience for a guest to speak on its console
NAME_PREFIX = lanes.name_prefix()


class ServerFailed(CloudError):
    """A server went to ERROR while something else was expected."""


class Api:
    """One account's calls. Bodies are plain dictionaries, as the API documents them."""

    def __init__(
        self, cloud: DevCloud, account: str = "admin", project: str | None = None
    ) -> None:
        """:param project: name of another project, in which the account has a role"""
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(cloud.state / "etc" / "clouds.yaml")
        import openstack

        self.cloud = cloud
        self.account = account
        connection = openstack.connect(cloud=account)
        if project:
            connection = connection.connect_as_project(project)
        self.connection = connection
        self.compute, self.network = connection.compute, connection.network
        self.image, self.placement = connection.image, connection.placement
        self._ids: dict[tuple[str, str], str] = {}

    # --- raw ---------------------------------------------------------------------------------
    def call(self, method: str, path: str, body: Any = None, ok: bool = True) -> Any:
        """A call of the compute API.

        :param ok: raise CloudError unless it succeeds; else return the response itself
        :returns: the decoded body (or the response when ``ok`` is false)
        """
        response = self.compute.request(
            path, method, json=body, microversion=MICROVERSION, raise_exc=False
        )
        if not ok:
            return response
        return _decoded(response, f"{method} {path}")

    def rest(self, service: Any, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A call of another service's API, decoded."""
        response = service.request(path, method, json=body, raise_exc=False, **more)
        return _decoded(response, f"{method} {path}")

    def cli(self, *arguments: str, parse: bool = False) -> Any:
        """The ``openstack`` command; with ``parse``, its JSON output.

        :raises CloudError: it failed
        """
        done = subprocess.run(
            ["openstack", *arguments, *(["-f", "json"] if parse else [])],
            env=self.cloud.environment(self.account),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise CloudError(f"openstack {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if parse else done.stdout

    # --- things by name ----------------------------------------------------------------------
    def flavor(self, name: str) -> str:
        return self._lookup(
            "flavor",
            name,
            lambda: self.call("GET", "/flavors")["flavors"],
        )

    def image_id(self, name: str) -> str:
        return self._lookup(
            "image", name, lambda: self.rest(self.image, "GET", f"/images?name={name}")["images"]
        )

    def network_id(self, name: str) -> str:
        return self._lookup(
            "network",
            name,
            lambda: self.rest(self.network, "GET", f"/networks?name={name}")["networks"],
        )

    def _lookup(self, kind: str, name: str, ask: Any) -> str:
        if (kind, name) not in self._ids:
            for item in ask():
                self._ids[kind, item["name"]] = item["id"]
        if (kind, name) not in self._ids:
            raise CloudError(f"the cloud has no {kind} {name!r}: run 'devstack/cloud up' again")
        return self._ids[kind, name]

    # --- servers -----------------------------------------------------------------------------
    def request_boot(
        self,
        node: str | None = None,
        image: str = "tiny-fast",
        flavor: str = "m1.nano",
        networks: Any = None,
        **more: Any,
    ) -> dict[str, Any]:
        """POST /servers.

        :param node: the host, or None to let the scheduler choose
        :param networks: as in the API; default the network ``private``
        :param more: further keys of the request; ``user_data`` is text here, ``hints`` are
            scheduler hints
        """
        hints = more.pop("hints", None)
        if "user_data" in more:
            more["user_data"] = base64.b64encode(more["user_data"].encode()).decode()
        body: dict[str, Any] = {
            "name": f"{NAME_PREFIX}-{uuid.uuid4().hex[:8]}",
            "imageRef": image if _is_uuid(image) else self.image_id(image),
            "flavorRef": flavor if _is_uuid(flavor) else self.flavor(flavor),
            "networks": networks or [{"uuid": self.network_id("private")}],
            **more,
        }
        if node:
            body["host"] = node
        request: dict[str, Any] = {"server": body}
        if hints:
            request["os:scheduler_hints"] = hints
        return self.call("POST", "/servers", request)["server"]

    def boot(self, node: str | None = None, **more: Any) -> dict[str, Any]:
        """Boot a server and wait until it is ACTIVE."""
        server = self.request_boot(node, **more)
        return self.wait_status(server["id"], "ACTIVE", BOOT_SECONDS)

    def server(self, server_id: str) -> dict[str, Any]:
        return self.call("GET", f"/servers/{server_id}")["server"]

    def servers(self) -> list[dict[str, Any]]:
        """Every server of every project."""
        return self.call("GET", "/servers/detail?all_tenants=1")["servers"]

    def wait_status(
        self, server_id: str, status: str | Iterable[str], seconds: float = 90
    ) -> dict[str, Any]:
        """Wait until a server has a status and no task.

        :raises ServerFailed: it went to ERROR instead; the text holds its fault
        """
        wanted = {status} if isinstance(status, str) else set(status)

        def look() -> dict[str, Any] | None:
            server = self.server(server_id)
            idle = server["OS-EXT-STS:task_state"] is None
            if idle and server["status"] in wanted:
                return server
            if idle and server["status"] == "ERROR":
                raise ServerFailed(f"server {server_id} is in ERROR: {server.get('fault')}")
            return None

        return wait_for(f"server {server_id} {'/'.join(sorted(wanted))}", look, seconds)

    def wait_idle(self, server_id: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until nothing is being done with a server, whatever its status."""
        return wait_for(
            f"server {server_id} without a task",
            lambda: (s := self.server(server_id))["OS-EXT-STS:task_state"] is None and s,
            seconds,
        )

    def act(self, server_id: str, action: str, arguments: Any = None) -> str:
        """POST /servers/ID/action; returns the request id."""
        response = self.call("POST", f"/servers/{server_id}/action", {action: arguments}, ok=False)
        if not response.ok:
            raise CloudError(f"{action}: HTTP {response.status_code}: {response.text}")
        return str(response.headers["x-openstack-request-id"])

    def delete(self, server_id: str) -> str | None:
        """Ask for the end of a server; returns the request id, None when it is gone already."""
        response = self.call("DELETE", f"/servers/{server_id}", ok=False)
        if response.status_code not in (204, 404):
            raise CloudError(f"DELETE: HTTP {response.status_code}: {response.text}")
        return response.headers["x-openstack-request-id"] if response.ok else None

    def gone(self, server_id: str) -> bool:
        return bool(self.call("GET", f"/servers/{server_id}", ok=False).status_code == 404)

    def wait_gone(self, server_id: str, seconds: float = 90) -> None:
        def look() -> bool:
            response = self.call("GET", f"/servers/{server_id}", ok=False)
            if response.status_code == 404:
                return True
            server = response.json()["server"]
            if server["status"] == "ERROR" and not server["OS-EXT-STS:task_state"]:
                raise ServerFailed(f"deleting {server_id} ended in ERROR: {server.get('fault')}")
            return False

        wait_for(f"end of server {server_id}", look, seconds)

    # --- what a server tells -----------------------------------------------------------------
    def console(self, server_id: str) -> str:
        """What the guest has written; empty while there is no guest."""
        response = self.call(
            "POST", f"/servers/{server_id}/action", {"os-getConsoleOutput": {}}, ok=False
        )
        return str(response.json()["output"] or "") if response.ok else ""

    def wait_console(self, server_id: str, text: str, seconds: float = GUEST_SECONDS) -> str:
        """Wait until the guest has written ``text``; returns all that it has written."""

        def look() -> str | None:
            console = self.console(server_id)
            if not console and (status := self.server(server_id)["status"]) in ("SHUTOFF", "ERROR"):
                raise CloudError(f"server {server_id} is {status}: its guest writes nothing")
            return console if text in console else None

        try:
            return wait_for(f"{text!r} on the console of {server_id}", look, seconds, pause=0.5)
        except CloudError as error:
            raise CloudError(f"{error}; the end: {self.console(server_id)[-1500:]}") from None

    def actions(self, server_id: str) -> list[dict[str, Any]]:
        """Actions of a server with their events, newest first."""
        path = f"/servers/{server_id}/os-instance-actions"
        listed = self.call("GET", path)["instanceActions"]
        return [
            self.call("GET", f"{path}/{action['request_id']}")["instanceAction"]
            for action in listed
        ]

    def events(self, server_id: str, action: str) -> list[dict[str, Any]]:
        """Events of the newest action of that name, oldest first."""
        for found in self.actions(server_id):
            if found["action"] == action:
                return sorted(found["events"], key=lambda event: event["start_time"])
        raise CloudError(f"server {server_id} has no action {action!r}")

    def wait_event(self, server_id: str, action: str, event: str) -> dict[str, Any]:
        """Wait until an event of the newest such action is over."""

        def look() -> dict[str, Any] | None:
            for found in self.events(server_id, action):
                if found["event"] == event and found["result"]:
                    return found
            return None

        return wait_for(f"event {event} of {action}", look, 60)

    # --- the books of other services ---------------------------------------------------------
    def ports(self, server_id: str) -> list[dict[str, Any]]:
        return self.rest(self.network, "GET", f"/ports?device_id={server_id}")["ports"]

    def create_port(self, **more: Any) -> dict[str, Any]:
        body = {"network_id": self.network_id("private"), "name": NAME_PREFIX, **more}
        return self.rest(self.network, "POST", "/ports", {"port": body})["port"]

    def delete_port(self, port_id: str) -> None:
        self.network.request(f"/ports/{port_id}", "DELETE", raise_exc=False)

    def placement_get(self, path: str) -> Any:
        return self.rest(self.placement, "GET", path, microversion=PLACEMENT_VERSION)

    def allocations(self, server_id: str) -> dict[str, Any]:
        return self.placement_get(f"/allocations/{server_id}")["allocations"]

    def upload_image(self, path: Path, disk_format: str, **properties: Any) -> str:
        """A new private image from a file; returns its id."""
        body = {"name": f"{NAME_PREFIX}-{path.name}", "disk_format": disk_format,
                "container_format": "bare", **properties}  # fmt: skip
        image = self.rest(self.image, "POST", "/images", body)
        response = self.image.request(
            f"/images/{image['id']}/file",
            "PUT",
            data=path.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
            raise_exc=False,
        )
        if not response.ok:
            self.delete_image(image["id"])
            raise CloudError(f"upload of {path.name} as {disk_format}: {response.text}")
        return str(image["id"])

    def delete_image(self, image_id: str) -> None:
        self.image.request(f"/images/{image_id}", "DELETE", raise_exc=False)


def _decoded(response: Any, what: str) -> Any:
    if not response.ok:
        raise CloudError(f"{what}: HTTP {response.status_code}: {response.text[:600]}")
    return response.json() if response.content else None


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
