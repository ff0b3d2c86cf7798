"""Measurements of cold moves between two hosts of the same agent: migrate, resize, confirm, revert.

Both hosts share this machine's processors and disk, and guests are emulated: what is worth reading
is the ratio to stock nova-compute in the same run.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.benchmark.firehose import Firehose, Message, Recording
from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for
from tests.cloud.support.networks import NAMESPACE

SETTLE = 4.5  # seconds in which after-effects of a request still count
PATIENCE = 300  # seconds
POLL = 0.05
PING = 0.2  # seconds between two
GIB = 1024**3
FULL = 2  # GiB of the large disk that are data, if any


class Report(Protocol):
    """Where the numbers go; as measure.Benchmark keeps them."""

    def value(self, name: str, value: float, **details: Any) -> None: ...

    def calls(self, verb: str, samples: list[list[Message]]) -> None: ...


class MoveMeasurements:
    """All of them between two hosts; what they make goes in the end.

    :param nodes: where servers start, and where they go
    """

    def __init__(
        self, cloud: DevCloud, api: Api, nodes: tuple[str, str], report: Report
    ) -> None:
        self._cloud, self._api, self._nodes = cloud, api, nodes
        self._report = report
        self._firehose = Firehose(cloud, *nodes)
        self._servers: list[str] = []
        self._flavors: list[str] = []

    def run(self, times: int, at_once: int) -> None:
        """
        :param times: how often a server is moved
        :param at_once: servers that move at the same time
        """
        with self._only_these_hosts():
            try:
                self._each(times)
                self._large()
                self._at_once(at_once)
            finally:
                self._clean()

    @contextmanager
    def _only_these_hosts(self) -> Iterator[None]:
        """The scheduler chooses between the two alone while the block runs."""
        found = self._api.call("GET", "/os-services?binary=nova-compute")["services"]
        others = [s["id"] for s in found
                  if s["host"] not in self._nodes and s["status"] == "enabled"]  # fmt: skip
        for service in others:
            self._api.call("PUT", f"/os-services/{service}", {"status": "disabled"})
        try:
            yield
        finally:
            for service in others:
                self._api.call("PUT", f"/os-services/{service}", {"status": "enabled"})

    # --- one after the other ---------------------------------------------------------------------
    def _each(self, times: int) -> None:
        """A migration that is confirmed, then a resize that is reverted, of the same server."""
        larger = self._flavor(disk=2, ram=192)
        seconds: dict[str, list[float]] = {}
        recordings: dict[str, list[Recording]] = {}
        gaps: dict[str, list[float]] = {"migrate": [], "resize": []}
        for _ in range(times):
            server = self._boot()
            self._api.wait_console(server, "TINY: ready", PATIENCE)
            requests: list[tuple[str, str, Any, str]] = [
                ("migrate", "migrate", {"host": self._nodes[1]}, "VERIFY_RESIZE"),
                ("confirm", "confirmResize", None, "ACTIVE"),
                ("resize", "resize", {"flavorRef": larger}, "VERIFY_RESIZE"),
                ("revert", "revertResize", None, "ACTIVE"),
            ]
            for verb, action, body, status in requests:
                with self._downtime(server) as gap, self._firehose.recording() as recording:
                    seconds.setdefault(verb, []).append(self._act(server, action, body, status))
                    if verb in gaps:
                        self._answers(server)
                    time.sleep(SETTLE)
                recordings.setdefault(verb, []).append(recording)
                if verb in gaps:
                    gaps[verb].append(max(gap))
            self._delete(server)
        for verb, spent in seconds.items():
            self._report.value(f"{verb} p50: seconds", statistics.median(spent), all=spent)
        for verb, lost in gaps.items():
            self._report.value(f"{verb}, guest unreachable p50: seconds",
                               statistics.median(lost), all=lost)  # fmt: skip
        for verb, found in recordings.items():
            self._report.calls(verb, [recording.conductor_calls() for recording in found])
            messages = [len(_own(recording)) for recording in found]
            self._report.value(f"AMQP messages per {verb}", statistics.median(messages),
                               all=messages)  # fmt: skip

    def _act(self, server: str, action: str, body: Any, status: str) -> float:
        """Seconds from the call until the server has a status and no task."""
        began = time.monotonic()
        self._api.call("POST", f"/servers/{server}/action", {action: body})
        self._wait(server, status)
        return time.monotonic() - began

    def _wait(self, server: str, status: str) -> None:
        def over() -> bool:
            found = self._api.server(server)
            if found["status"] == "ERROR":
                raise RuntimeError(f"server {server} is in ERROR: {found.get('fault')}")
            return bool(found["status"] == status and not found["OS-EXT-STS:task_state"])

        wait_for(f"{server} {status}", over, PATIENCE, pause=POLL)

    # --- what the guest misses ------------------------------------------------------------------
    @contextmanager
    def _downtime(self, server: str) -> Iterator[list[float]]:
        """Pauses between two answers to a ping from outside; filled when the block ends."""
        gaps: list[float] = [0.0]
        address = self._floating(server)
        ping = subprocess.Popen(
            ["ip", "netns", "exec", NAMESPACE, "ping", "-D", "-n", "-i", str(PING), address],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            yield gaps
        finally:
            ping.terminate()
            said, _ = ping.communicate()
            times = [float(t) for t in re.findall(r"^\[(\d+\.\d+)\] \d+ bytes from", said, re.M)]
            gaps += [later - earlier for earlier, later in zip(times, times[1:], strict=False)]

    def _answers(self, server: str) -> None:
        """Wait until the guest answers where it is now."""
        address = self._floating(server)
        command = ["ip", "netns", "exec", NAMESPACE, "ping", "-c", "1", "-W", "1", address]
        wait_for(
            f"{server} answers",
            lambda: subprocess.run(command, capture_output=True).returncode == 0,
            PATIENCE,
        )

    def _floating(self, server: str) -> str:
        """The server's floating IP; it gets one when it has none."""
        for group in self._api.server(server)["addresses"].values():
            for address in group:
                if address["OS-EXT-IPS:type"] == "floating":
                    return str(address["addr"])
        (port,) = self._api.ports(server)
        body = {"floating_network_id": self._api.network_id("public"), "port_id": port["id"]}
        made = self._network("POST", "/floatingips", {"floatingip": body})["floatingip"]
        wait_for(
            "floating IP", lambda: "floating" in str(self._api.server(server)["addresses"]), 30
        )
        return str(made["floating_ip_address"])

    def _network(self, method: str, path: str, body: Any = None) -> Any:
        return self._api.rest(self._api.network, method, path, body)

    # --- large disks ----------------------------------------------------------------------------
    def _large(self) -> None:
        """A stopped server whose root disk has 2 GiB of data, and one that has next to none."""
        flavor = self._flavor(disk=3, ram=128)
        for kind in ("sparse", "full"):
            server = self._boot(flavor=flavor)
            self._api.wait_console(server, "TINY: ready", PATIENCE)
            self._api.act(server, "os-stop")
            self._api.wait_status(server, "SHUTOFF", PATIENCE)
            if kind == "full":
                self._fill(server)
            spent = self._act(server, "migrate", {"host": self._nodes[1]}, "VERIFY_RESIZE")
            self._report.value(f"migrate, stopped, {kind} disk: seconds", spent)
            self._act(server, "confirmResize", None, "SHUTOFF")
            self._delete(server)

    def _fill(self, server: str) -> None:
        """Write data that no storage can leave out behind what the image has."""
        disk = f"/var/lib/nova/instances/{server}/disk"
        # One request of qemu-io is less than 2 GiB.
        writes = " ".join(
            f"-c 'write -s /var/lib/nova/fill {number * GIB} {GIB}'"
            for number in range(1, FULL + 1)
        )
        script = (
            f"set -e; head -c {GIB} /dev/urandom >/var/lib/nova/fill; "
            f"qemu-io -f qcow2 {writes} {disk} >&2; rm /var/lib/nova/fill; sync"
        )
        self._cloud.on(self._nodes[0], "sh", "-c", script)

    # --- many at once ----------------------------------------------------------------------------
    def _at_once(self, count: int) -> None:
        servers = [str(self._api.request_boot(self._nodes[0])["id"]) for _ in range(count)]
        self._servers += servers
        for server in servers:
            self._wait(server, "ACTIVE")
            self._api.wait_console(server, "TINY: ready", PATIENCE)
        for name, action, body, status in (
            ("migrations", "migrate", {"host": self._nodes[1]}, "VERIFY_RESIZE"),
            ("confirmations", "confirmResize", None, "ACTIVE"),
        ):
            began = time.monotonic()
            for server in servers:
                self._api.call("POST", f"/servers/{server}/action", {action: body})
            for server in servers:
                self._wait(server, status)
            self._report.value(f"N {name} at once: seconds", time.monotonic() - began)

    # --- the rest ---------------------------------------------------------------------------------
    def _boot(self, **more: Any) -> str:
        server = str(self._api.request_boot(self._nodes[0], **more)["id"])
        self._servers.append(server)
        self._wait(server, "ACTIVE")
        return server

    def _flavor(self, **sizes: int) -> str:
        name = f"{NAME_PREFIX}.moves{len(self._flavors)}"
        body = {"name": name, "vcpus": 1, **sizes}
        made = str(self._api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
        self._flavors.append(made)
        return made

    def _delete(self, server: str) -> None:
        for port in self._api.ports(server):
            found = self._network("GET", f"/floatingips?port_id={port['id']}")["floatingips"]
            for floating in found:
                self._network("DELETE", f"/floatingips/{floating['id']}")
        self._api.delete(server)
        self._api.wait_gone(server, 180)
        self._servers.remove(server)

    def _clean(self) -> None:
        for server in list(self._servers):
            self._delete(server)
        for flavor in self._flavors:
            self._api.call("DELETE", f"/flavors/{flavor}", ok=False)


def _own(recording: Recording) -> list[Message]:
    """What the two agents sent and got, without what they exchange at all times."""
    both = {id(message): message for message in recording.sent() + recording.received()}
    return [m for m in both.values() if m.method not in ("Service.save", "update_instance_info",
                                                         "sync_instance_info")]  # fmt: skip
