"""The measurements, in the order in which they are taken on one agent."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.benchmark import processes
from tests.benchmark.firehose import Firehose, Message, Recording
from tests.benchmark.interfaces import InterfaceMeasurements
from tests.benchmark.live import LiveMeasurements
from tests.benchmark.moves import MoveMeasurements
from tests.benchmark.rest import SERVICES, RestCalls, rest_calls
from tests.benchmark.verbs import NotOffered, delete_snapshots, perform, verbs
from tests.benchmark.volumes import VolumeMeasurements
from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import (
    COMMAND,
    NONE,
    CloudError,
    DevCloud,
    Process,
    wait_for,
)

SETTLE = 4.5  # seconds after the end of a request in which its after-effects are still counted
IDLE = 60.0  # seconds; the periodic tasks of stock nova-compute have this period
QUIET = 10.0  # seconds without requests before something idle is measured
POLL = 0.05
LONG_AGO = "2000-01-01 00:00:00"


@dataclass
class Plan:
    """How much to measure."""

    boots: int = 10
    servers: int = 10
    verbs: int = 3
    attachments: int = 20
    moves: int = 5
    moves_at_once: int = 5
    live: int = 3
    live_only: bool = False
    verbs_only: bool = False
    volumes_only: bool = False
    network_only: bool = False


@dataclass
class Result:
    """Values by name (see report.ROWS), and the raw numbers behind them."""

    values: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    forecasts: dict[str, dict[str, Any]] = field(default_factory=dict)


class Benchmark:
    """Measures whatever agent is asked for on one host."""

    def __init__(
        self, cloud: DevCloud, api: Api, node: str, plan: Plan, say: Callable[[str], None]
    ) -> None:
        self._cloud, self._api, self._node, self._plan, self._say = cloud, api, node, plan, say
        self._firehose = Firehose(cloud, node)
        self._result = Result()
        self._servers: list[str] = []

    def run(self, kind: str) -> Result:
        """Switch the host to an agent of this kind and measure it; its servers go in the end."""
        self._result = Result()
        if self._plan.volumes_only:
            if self._cloud.agent_kind(self._node) != kind:
                self._start(kind, "start")
            self._volumes()
            return self._result
        try:
            if self._plan.network_only:
                self._network(kind)
                return self._result
            self._start(kind, "start")
            if self._plan.verbs_only:
                self._verbs()
                return self._result
            time.sleep(QUIET)
            self._memory("after start")
            self._idle("0")
            self._boots()
            self._verbs()
            self._interfaces()
            self._memory("after boots")
            self._volumes()
            self._at_once()
            self._wait_until_guests_sleep()
            self._idle("N")
            self._start(kind, "restart with N")
        finally:
            self._delete_all()
        return self._result

    def value(self, name: str, value: float, **details: Any) -> None:
        self._result.values[name] = value
        if details:
            self._result.details[name] = details
        self._say(f"  {name}: {value:.2f}")

    def detail(self, name: str, found: Any) -> None:
        """Keep what is not worth a row of the table."""
        self._result.details[name] = found

    def forecast(self, guest: str, found: dict[str, Any]) -> None:
        """Keep what was expected of a live migration beside what came."""
        self._result.forecasts[guest] = found
        self._say(f"  forecast, {guest} guest: {found['why']}")

    # --- start -------------------------------------------------------------------------------
    def _start(self, kind: str, name: str) -> None:
        """From the start of the process until Nova would send it a server."""
        self._cloud.switch_agent(self._node, NONE)
        # Nova must not take the last heartbeat of the agent before for one of this.
        self._cloud.sql(
            f"update services set updated_at='{LONG_AGO}', last_seen_up='{LONG_AGO}' "
            f"where host='{self._node}' and topic='compute'"
        )
        if self._up():
            raise RuntimeError(f"{self._node} counts as up although its agent was stopped")
        starter = subprocess.Popen(
            [str(COMMAND), "agent", self._node, kind],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process: Process = wait_for(
            "agent process",
            lambda: self._cloud.process(f"{self._node}-agent"),
            120,
            pause=0.01,
        )
        wait_for(f"{kind} up on {self._node}", self._schedulable, 180, pause=POLL)
        seconds = processes.age(process)
        starter.wait()
        self.value(f"{name}: seconds", seconds)

    def _schedulable(self) -> bool:
        """Up for the API, both RPC topics served, and a provider with inventory in Placement."""
        if not self._up():
            return False
        if not all(
            self._firehose.consumers(f"{topic}.{self._node}")
            for topic in ("compute", "compute-alt")
        ):
            return False
        provider = f"/resource_providers/{self._cloud.provider(self._node)}"
        traits = self._api.placement_get(f"{provider}/traits")["traits"]
        inventories = self._api.placement_get(f"{provider}/inventories")["inventories"]
        return bool(inventories) and "COMPUTE_STATUS_DISABLED" not in traits

    def _up(self) -> bool:
        path = f"/os-services?host={self._node}&binary=nova-compute"
        (service,) = self._api.call("GET", path)["services"]
        return bool(service["state"] == "up" and service["status"] == "enabled")

    # --- memory, idle ------------------------------------------------------------------------
    def _memory(self, when: str) -> None:
        found = processes.memory(self._cloud, self._node)
        self.value(f"memory {when}: PSS MiB", found.pss, threads=found.threads,
                  processes=found.processes)  # fmt: skip
        self.value(f"memory {when}: RSS MiB", found.rss)

    def _idle(self, servers: str) -> None:
        before = processes.cpu_seconds(self._cloud, self._node)
        with self._firehose.recording() as recording:
            began = time.monotonic()
            time.sleep(IDLE)
            minutes = (time.monotonic() - began) / 60
        spent = processes.cpu_seconds(self._cloud, self._node) - before
        messages = recording.sent() + recording.received()
        if any(message.topic.startswith("compute") for message in messages):
            self._say("  (somebody else used this host meanwhile: measure again)")
        self.value(f"idle, {servers} servers: messages", len(messages) / minutes,
                  **_tally(messages))  # fmt: skip
        self.value(f"idle, {servers} servers: CPU seconds", spent / minutes)

    # --- boots and deletions, one after the other -----------------------------------------------
    def _network(self, kind: str) -> None:
        """Boots and interfaces alone, of an agent that may have run before."""
        if self._cloud.agent_kind(self._node) != kind:
            self._start(kind, "start")
        self._boots()
        self._interfaces()
        self._at_once()

    def _boots(self) -> None:
        to_active, to_gone, boot_calls, delete_calls = [], [], [], []
        arrival, plugged = [], []
        boot_rest, delete_rest = [], []
        for _ in range(self._plan.boots):
            with self.recording() as (recording, rest):
                began = time.monotonic()
                server = self._boot()
                wait_for("ACTIVE", lambda server=server: self._active(server), 180, pause=POLL)
                to_active.append(time.monotonic() - began)
                time.sleep(SETTLE)
            boot_calls.append(recording.conductor_calls())
            boot_rest.append(rest)
            arrival.append(_arrival_to_end(recording))
            plugged.append(_plugged_to_end(recording))
            with self.recording() as (recording, rest):
                began = time.monotonic()
                self._api.delete(server)
                wait_for("deletion", lambda server=server: self._api.gone(server), 90, pause=POLL)
                to_gone.append(time.monotonic() - began)
                self._servers.remove(server)
                time.sleep(SETTLE)
            delete_calls.append(recording.conductor_calls())
            delete_rest.append(rest)
        self.value("POST to ACTIVE p50: seconds", statistics.median(to_active), all=to_active)
        self.value(
            "RPC arrival to end of boot p50: seconds", statistics.median(arrival), all=arrival
        )
        self.value("network-vif-plugged to end of boot p50: seconds", statistics.median(plugged),
                  all=plugged)  # fmt: skip
        self.value("DELETE to gone p50: seconds", statistics.median(to_gone), all=to_gone)
        self.calls("boot", boot_calls)
        self.calls("delete", delete_calls)
        self.rest("boot", boot_rest)
        self.rest("delete", delete_rest)

    @contextmanager
    def recording(self) -> Iterator[tuple[Recording, RestCalls]]:
        """Messages and REST calls of the agent while the block runs."""
        with rest_calls(self._cloud, self._node) as rest, self._firehose.recording() as messages:
            yield messages, rest

    def rest(self, verb: str, samples: list[RestCalls]) -> None:
        """The median of each service that was asked at all, and one sample call by call."""
        for service in SERVICES.values():
            found = sorted((sample.of(service) for sample in samples), key=len)
            typical = found[(len(found) - 1) // 2]
            if found[-1]:
                self.value(f"{service} calls per {verb}", len(typical),
                          all=[len(sample.of(service)) for sample in samples],
                          calls=[str(call) for call in typical])  # fmt: skip

    def calls(self, verb: str, samples: list[list[Message]]) -> None:
        """The sample of median length; ``own`` are those under the request's own id."""
        typical = sorted(samples, key=len)[(len(samples) - 1) // 2]
        own = _most_frequent_request(typical)
        self.value(f"conductor calls per {verb}", len(typical),
                  all=[len(sample) for sample in samples],
            own=own,
                  calls=[message.method for message in typical])  # fmt: skip

    def _boot(self) -> str:
        server = str(self._api.request_boot(self._node)["id"])
        self._servers.append(server)
        return server

    def _active(self, server_id: str) -> bool:
        server = self._api.server(server_id)
        if server["status"] == "ERROR":
            raise RuntimeError(f"boot of {server_id} failed: {server.get('fault')}")
        return bool(server["status"] == "ACTIVE")

    # --- the other verbs ---------------------------------------------------------------------
    def _verbs(self) -> None:
        server = self._boot()
        wait_for("ACTIVE", lambda: self._active(server), 180)
        self._api.wait_console(server, "TINY: ready")
        samples: dict[str, list[tuple[Recording, RestCalls]]] = {}
        for _ in range(self._plan.verbs):
            for verb in verbs(self._node, self._api.image_id("tiny-fast")):
                try:
                    with self.recording() as recorded:
                        perform(self._api, server, verb)
                        time.sleep(SETTLE)
                except NotOffered as error:
                    self._say(f"  {verb.name}: {error}")
                else:
                    samples.setdefault(verb.name, []).append(recorded)
                time.sleep(verb.rest)
            delete_snapshots(self._api)
        for name, each in samples.items():
            self.calls(name, [messages.conductor_calls() for messages, _ in each])
            self.rest(name, [rest for _, rest in each])
        self._delete_all()

    # --- interfaces --------------------------------------------------------------------------
    def _interfaces(self) -> None:
        server = self._boot()
        wait_for("ACTIVE", lambda: self._active(server), 180)
        self._api.wait_console(server, "TINY: ready")
        InterfaceMeasurements(self._api, self, self._say).run(
            server, self._plan.attachments, self._plan.verbs
        )
        self._delete_all()

    # --- moves -------------------------------------------------------------------------------
    def moves(self, nodes: tuple[str, str]) -> Result:
        """Measure moves between two hosts, the first of which is this one."""
        MoveMeasurements(self._cloud, self._api, nodes, self).run(
            self._plan.moves, self._plan.moves_at_once
        )
        return self._result

    def live(self, nodes: tuple[str, str], kind: str) -> Result:
        """Measure live migrations between two hosts, the first of which is this one."""
        measurements = LiveMeasurements(self._cloud, self._api, nodes, self)
        try:
            measurements.run(kind, self._plan.live, self._plan.moves_at_once)
        except (RuntimeError, CloudError) as error:  # what was measured before is worth something
            self._say(f"  ended early: {error}")
        return self._result

    # --- volumes -----------------------------------------------------------------------------
    def _volumes(self) -> None:
        VolumeMeasurements(self._cloud, self._api, self._node, self._firehose, self).run(
            self._plan.attachments, self._plan.verbs
        )

    # --- many at once --------------------------------------------------------------------------
    def _at_once(self) -> None:
        count = self._plan.servers
        began = time.monotonic()
        self._api.request_boot(self._node, name="nlt-many", min_count=count, max_count=count)
        listed = self._api.call("GET", "/servers?name=nlt-many")["servers"]
        self._servers += [server["id"] for server in listed]

        def all_active() -> bool:
            found = self._api.call("GET", "/servers/detail?name=nlt-many")["servers"]
            states = [server["status"] for server in found]
            if "ERROR" in states:
                raise RuntimeError(f"a boot failed: {[s.get('fault') for s in found]}")
            return states == ["ACTIVE"] * count

        wait_for(f"{count} servers ACTIVE", all_active, 600, pause=0.1)
        self.value("N at once: seconds", time.monotonic() - began)

    def _wait_until_guests_sleep(self) -> None:
        for server in self._servers:
            self._api.wait_console(server, "TINY: ready", 300)
        time.sleep(QUIET)

    def _delete_all(self) -> None:
        for server in self._servers:
            self._api.delete(server)
        while self._servers:
            self._api.wait_gone(self._servers[-1], 180)
            self._servers.pop()


def _most_frequent_request(messages: list[Message]) -> int:
    """How many messages belong to the request that most of them belong to."""
    ids = [message.request_id for message in messages]
    return max((ids.count(found) for found in set(ids)), default=0)


def _tally(messages: list[Message]) -> dict[str, int]:
    """How many of each kind; replies have no method."""
    counts: dict[str, int] = {}
    for message in messages:
        name = message.method or "reply"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _plugged_to_end(recording: Recording) -> float:
    """Seconds from the event that the ports are wired up, on its way into the agent's queue, until
    the boot is over; 0 where the agent found out by itself before."""
    plugged = [m.time for m in recording.received() if "network-vif-plugged" in m.events]
    end = [
        m.time for m in recording.sent() if m.method.startswith("InstanceActionEvent.event_finish")
    ]
    return max(0.0, end[0] - plugged[0]) if plugged and end else 0.0


def _arrival_to_end(recording: Recording) -> float:
    """Seconds from the request's way into the agent's queue until its event is finished."""
    sent, received = recording.sent(), recording.received()
    arrival = next(m.time for m in received if m.method == "build_and_run_instance")
    end = [m.time for m in sent if m.method.startswith("InstanceActionEvent.event_finish")]
    return end[0] - arrival if end else float("nan")
