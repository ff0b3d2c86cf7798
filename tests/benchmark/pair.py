"""What measurements between two hosts have in common: servers, addresses, and that all of it goes.

Both hosts share this machine's processors and disk, and guests are emulated where KVM does not
work: what is worth reading is the ratio to stock nova-compute in the same run.
"""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tests.benchmark.firehose import Firehose, Message, Recording
from tests.benchmark.pings import Pings, pinged
from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for
from tests.cloud.support.moves import Moves
from tests.cloud.support.networks import NAMESPACE

SETTLE = 4.5  # seconds in which after-effects of a request still count
PATIENCE = 300  # seconds
POLL = 0.05


class Report(Protocol):
    """Where the numbers go; as measure.Benchmark keeps them."""

    def value(self, name: str, value: float, **details: Any) -> None: ...

    def calls(self, verb: str, samples: list[list[Message]]) -> None: ...

    def detail(self, name: str, found: Any) -> None: ...

    def forecast(self, guest: str, found: dict[str, Any]) -> None: ...


class PairMeasurements:
    """Between two hosts that run the same agent; what they make goes in the end.

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

    def _only_these_hosts(self) -> AbstractContextManager[None]:
        """The scheduler chooses between the two alone while the block runs."""
        return Moves(self._cloud, self._api).only(*self._nodes)

    def _booted(self, count: int) -> list[str]:
        """New servers, whose guests are up."""
        servers = [str(self._api.request_boot(self._nodes[0])["id"]) for _ in range(count)]
        self._servers += servers
        for server in servers:
            self._wait(server, "ACTIVE")
            self._api.wait_console(server, "TINY: ready", PATIENCE)
        return servers

    def _wait(self, server: str, status: str) -> None:
        def over() -> bool:
            found = self._api.server(server)
            if found["status"] == "ERROR":
                raise RuntimeError(f"server {server} is in ERROR: {found.get('fault')}")
            return bool(found["status"] == status and not found["OS-EXT-STS:task_state"])

        wait_for(f"{server} {status}", over, PATIENCE, pause=POLL)

    def _answers(self, server: str) -> None:
        """Wait until the guest answers where it is now."""
        address = self._floating(server)
        command = ["ip", "netns", "exec", NAMESPACE, "ping", "-c", "1", "-W", "1", address]
        wait_for(
            f"{server} answers",
            lambda: subprocess.run(command, capture_output=True).returncode == 0,
            PATIENCE,
        )

    def _pinged(self, server: str, interval: float) -> AbstractContextManager[Pings]:
        """Pings from outside while a block runs."""
        return pinged(self._floating(server), interval)

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


def own(recording: Recording) -> list[Message]:
    """What the two agents sent and got, without what they exchange at all times."""
    both = {id(message): message for message in recording.sent() + recording.received()}
    return [m for m in both.values() if m.method not in ("Service.save", "update_instance_info",
                                                         "sync_instance_info")]  # fmt: skip
