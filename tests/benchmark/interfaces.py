"""Measurements of interfaces: attached to a running server and detached, with what that asks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tests.benchmark.firehose import Message, Recording
from tests.benchmark.rest import RestCalls
from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import wait_for

SETTLE = 4.5  # seconds in which after-effects of a request still count
PATIENCE = 120  # seconds
POLL = 0.05


class Report(Protocol):
    """Where the numbers go; as measure.Benchmark keeps them."""

    def value(self, name: str, value: float, **details: Any) -> None: ...

    def calls(self, verb: str, samples: list[list[Message]]) -> None: ...

    def rest(self, verb: str, samples: list[RestCalls]) -> None: ...

    def recording(self) -> AbstractContextManager[tuple[Recording, RestCalls]]: ...


class InterfaceMeasurements:
    """On one server that runs; what is attached to it goes again."""

    def __init__(self, api: Api, report: Report, say: Callable[[str], None]) -> None:
        self._api, self._report, self._say = api, report, say

    def run(self, server: str, times: int, samples: int) -> None:
        """
        :param times: how often an interface is attached and detached for the latencies
        :param samples: how many more are counted call by call
        """
        path = f"/servers/{server}/os-interface"
        network = self._api.network_id("private")
        attach, detach = [], []
        for _ in range(times):
            began = time.monotonic()
            response = self._attach(path, network)
            attach.append(time.monotonic() - began)
            if not response.ok:
                self._say(f"  attach an interface: HTTP {response.status_code}")
                return
            began = time.monotonic()
            self._detach(path, response)
            detach.append(time.monotonic() - began)
        for verb, seconds in (("attach", attach), ("detach", detach)):
            self._report.value(f"{verb} interface p50: seconds", statistics.median(seconds),
                               all=seconds)  # fmt: skip
        self._count(path, network, samples)

    def _count(self, path: str, network: str, samples: int) -> None:
        found: dict[str, list[tuple[Recording, RestCalls]]] = {"attach": [], "detach": []}
        for _ in range(samples):
            with self._report.recording() as recorded:
                response = self._attach(path, network)
                time.sleep(SETTLE)
            found["attach"].append(recorded)
            with self._report.recording() as recorded:
                self._detach(path, response)
                time.sleep(SETTLE)
            found["detach"].append(recorded)
        for verb, each in found.items():
            self._report.calls(f"{verb} interface", [m.conductor_calls() for m, _ in each])
            self._report.rest(f"{verb} interface", [rest for _, rest in each])

    def _attach(self, path: str, network: str) -> Any:
        """The answer comes when it is attached."""
        body = {"interfaceAttachment": {"net_id": network}}
        return self._api.call("POST", path, body, ok=False)

    def _detach(self, path: str, attached: Any) -> None:
        """From the call until the port, which was made for it, is gone from the server."""
        port = attached.json()["interfaceAttachment"]["port_id"]
        self._api.call("DELETE", f"{path}/{port}")
        wait_for(f"port {port} detached", lambda: port not in self._ports(path), PATIENCE, POLL)

    def _ports(self, path: str) -> Iterator[str]:
        return (one["port_id"] for one in self._api.call("GET", path)["interfaceAttachments"])
