"""Measurements of live migrations between two hosts of the same agent, and of their forecasts.

One after the other, five at once, and of guests that write nothing, less, and more than the link
takes. There the link is capped, so that guests of any machine can be too fast for it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.benchmark import guest_clock, processes
from tests.benchmark.firehose import Recording
from tests.benchmark.forecasts import EVENT, outcome
from tests.benchmark.pair import PATIENCE, POLL, SETTLE, PairMeasurements, own
from tests.benchmark.pings import Pings
from tests.benchmark.writer import shell
from tests.cloud.support.devcloud import LITE, wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.streams import Neighbour, Stream, echo, held

PING, NEIGHBOUR = 0.05, 0.1  # seconds between two, from outside and from another guest
LINK = 16  # MiB/s, where it is capped
MEMORY, SET = 256, 64  # MiB of a guest that writes, and what it writes to
WRITERS = {"idle": 0, "medium": 6, "heavy": 60}  # MiB/s
# A guest that does not arrive is post-copied after a minute, 15 s for each of 4 GiB (memory and
# disk count as 2 GiB at least); nova-lite with its forecast knows before that it will not.
CAPPED = f"""
[libvirt]
live_migration_bandwidth = {LINK}
live_migration_permit_post_copy = true
live_migration_permit_auto_converge = false
live_migration_completion_timeout = 15
live_migration_timeout_action = force_complete
"""
# nova-compute sends no guest that has a serial console from a host of this cloud.
NO_SERIAL = "[serial_console]\nenabled = false\n"
FORECAST = "\n[nova_lite]\nlive_migration_method = auto\n"


@dataclass
class Trip:
    """A live migration from one host to the other, and what it took of whom."""

    seconds: float
    cpu: float  # seconds, of both agents
    still: float  # milliseconds, by the guest's clock
    still_error: float  # of that
    pings: Pings
    recording: Recording
    stream: Stream  # from outside
    neighbour: Neighbour | None

    def streams(self) -> list[Stream]:
        """The TCP connections that were held."""
        return [self.stream, self.neighbour.stream] if self.neighbour else []


class LiveMeasurements(PairMeasurements):
    """All of them."""

    def run(self, kind: str, times: int, at_once: int) -> None:
        """
        :param kind: of the agents
        :param times: how often a server goes there and back
        :param at_once: servers that are asked to move at the same time
        """
        with self._only_these_hosts(), ExitStack() as undo:
            for node in self._nodes:
                undo.enter_context(self._cloud.options(node, NO_SERIAL))
            try:
                self._each(times)
                self._at_once(at_once)
                with self._cloud.options(
                    self._nodes[0], CAPPED + (FORECAST if kind == LITE else "")
                ):
                    for name, rate in WRITERS.items():
                        self._writer(name, rate, forecast=kind == LITE)
            finally:
                self._clean()

    # --- one after the other ---------------------------------------------------------------------
    def _each(self, times: int) -> None:
        server, beside = (self._with_guest_agent() for _ in range(2))
        neighbour = Guest(self._cloud, self._nodes[0], beside)
        there, back = self._nodes, self._nodes[::-1]
        trips = [self._trip(server, *ends, neighbour) for _ in range(times)
                 for ends in (there, back)]  # fmt: skip
        for one in (server, beside):
            self._delete(one)
        value = self._report.value
        for name, found in (
            ("live migrate p50: seconds", [trip.seconds for trip in trips]),
            ("live migrate, guest clock stood still p50: ms", [trip.still for trip in trips]),
            ("live migrate, longest pause between pings p50: seconds",
             [trip.pings.gap for trip in trips]),
            (f"live migrate, lost pings (every {PING} s) p50", [trip.pings.lost for trip in trips]),
            (f"live migrate, lost pings of another guest (every {NEIGHBOUR} s) p50",
             [trip.neighbour.lost for trip in trips if trip.neighbour]),
            ("live migrate, longest pause of a TCP connection p50: seconds",
             [trip.stream.gap for trip in trips]),
            ("live migrate, CPU seconds of both agents p50", [trip.cpu for trip in trips]),
            ("AMQP messages per live migrate", [len(own(trip.recording)) for trip in trips]),
        ):  # fmt: skip
            value(name, statistics.median(found), all=found)
        streams = [one for trip in trips for one in trip.streams()]
        value("live migrate, broken TCP connections", sum(not one.whole for one in streams),
              of=len(streams))  # fmt: skip
        self._report.detail("live migrate, guest clock: error in ms",
                            [trip.still_error for trip in trips])  # fmt: skip
        self._report.calls("live migrate", [trip.recording.conductor_calls() for trip in trips])

    def _with_guest_agent(self, **more: Any) -> str:
        """A new server whose guest can be asked, and pinged."""
        server = self._boot(image="tiny-agent", **more)
        self._api.wait_console(server, "TINY: qemu-ga started", PATIENCE)
        self._answers(server)
        return server

    def _trip(
        self, server: str, source: str, target: str, beside: Guest | None = None
    ) -> Trip:
        """
        :param beside: another guest of its network; without one no connections are held
        """
        neighbour, stream = (Neighbour(beside) if beside else None), Stream()
        with ExitStack() as watched:
            if neighbour:
                echo(Guest(self._cloud, source, server))
                watched.enter_context(neighbour.at(self._fixed(server), NEIGHBOUR))
                stream = watched.enter_context(held(self._floating(server), PING))
            pings = watched.enter_context(self._pinged(server, PING))
            recording = watched.enter_context(self._firehose.recording())
            before = guest_clock.look(self._cloud, source, server)
            with self._cpu() as cpu:
                began = time.monotonic()
                self._ask(server, target)
                self._arrived(server, target)
                seconds = time.monotonic() - began
            self._answers(server)
            time.sleep(SETTLE)
            after = guest_clock.look(self._cloud, target, server)
        still, error = guest_clock.stood_still(before, after)
        return Trip(seconds, cpu[0], still, error, pings, recording, stream, neighbour)

    def _fixed(self, server: str) -> str:
        (port,) = self._api.ports(server)
        return str(port["fixed_ips"][0]["ip_address"])

    @contextmanager
    def _cpu(self) -> Iterator[list[float]]:
        """CPU seconds of both agents while the block runs: one number, when it is over."""

        def spent() -> float:
            return sum(processes.cpu_seconds(self._cloud, node) for node in self._nodes)

        found, before = [0.0], spent()
        yield found
        found[0] = spent() - before

    def _ask(self, server: str, target: str) -> None:
        self._api.act(server, "os-migrateLive", {"host": target, "block_migration": "auto"})

    def _arrived(self, server: str, target: str) -> None:
        """
        :raises RuntimeError: it did not go
        """

        def over() -> bool:
            found = self._api.server(server)
            if found["OS-EXT-STS:task_state"]:
                return False
            if found["OS-EXT-SRV-ATTR:host"] != target or found["status"] != "ACTIVE":
                raise RuntimeError(
                    f"the live migration of {server} to {target} is {self._status(server)}, the "
                    f"server {found['status']}: {found.get('fault')}; look at "
                    f"{self._cloud.agent_log(self._nodes[0])}"
                )
            return True

        wait_for(f"{server} on {target}", over, PATIENCE, pause=POLL)

    def _status(self, server: str) -> str:
        found = self._api.call("GET", f"/os-migrations?instance_uuid={server}")["migrations"]
        return str(max(found, key=lambda row: row["id"])["status"]) if found else "nowhere"

    # --- many at once ----------------------------------------------------------------------------
    def _at_once(self, count: int) -> None:
        """As many go at the same time as [DEFAULT]max_concurrent_live_migrations says: one."""
        servers = self._booted(count)
        with self._firehose.recording() as recording, self._cpu() as cpu:
            began = time.monotonic()
            for server in servers:
                self._ask(server, self._nodes[1])
            for server in servers:
                self._arrived(server, self._nodes[1])
            seconds = time.monotonic() - began
        name, value = "N live migrations at once", self._report.value
        value(f"{name}: seconds", seconds)
        value(f"{name}, CPU seconds of both agents", cpu[0])
        value(f"{name}: conductor calls", len(recording.conductor_calls()))
        value(f"{name}: AMQP messages", len(own(recording)))
        for server in servers:
            self._delete(server)

    # --- guests that write -----------------------------------------------------------------------
    def _writer(self, name: str, rate: int, *, forecast: bool) -> None:
        """A guest that writes ``rate`` MiB/s, sent over the capped link.

        :param forecast: the agent makes one: it is kept beside the outcome
        """
        server = self._with_guest_agent(flavor=self._flavor(ram=MEMORY, disk=1))
        source, target = self._nodes
        if rate:
            Guest(self._cloud, source, server).ask(f"{shell(rate, SET)} echo started")
            time.sleep(SETTLE)  # until it has written to all of that
        trip = self._trip(server, source, target)
        label, value = f"live, {name} guest ({rate} MiB/s)", self._report.value
        value(f"{label}: seconds", trip.seconds)
        value(f"{label}, clock stood still: ms", trip.still)
        value(f"{label}, longest pause between pings: seconds", trip.pings.gap)
        if forecast:
            told = self._api.wait_event(server, "live-migration", EVENT)["details"]
            log = self._cloud.agent_log(source).read_text(errors="replace")
            found = outcome(log, server)
            self._report.forecast(name, {
                "guest": rate, "why": told, **found, "clock_ms": trip.still,
                "emulated": self._cloud.setting(source, "virt_type", "kvm") != "kvm",
            })  # fmt: skip
        self._delete(server)
