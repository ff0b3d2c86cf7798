"""Measurements of cold moves between two hosts of the same agent: migrate, resize, confirm, revert.

Both hosts share this machine's processors and disk, and guests are emulated: what is worth reading
is the ratio to stock nova-compute in the same run.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from tests.benchmark.firehose import Recording
from tests.benchmark.pair import PATIENCE, SETTLE, PairMeasurements, own

PING = 0.2  # seconds between two
GIB = 1024**3
FULL = 2  # GiB of the large disk that are data, if any


class MoveMeasurements(PairMeasurements):
    """All of them."""

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
                with self._pinged(server, PING) as pings, self._firehose.recording() as recording:
                    seconds.setdefault(verb, []).append(self._act(server, action, body, status))
                    if verb in gaps:
                        self._answers(server)
                    time.sleep(SETTLE)
                recordings.setdefault(verb, []).append(recording)
                if verb in gaps:
                    gaps[verb].append(pings.gap)
            self._delete(server)
        for verb, spent in seconds.items():
            self._report.value(f"{verb} p50: seconds", statistics.median(spent), all=spent)
        for verb, lost in gaps.items():
            self._report.value(f"{verb}, guest unreachable p50: seconds",
                               statistics.median(lost), all=lost)  # fmt: skip
        for verb, found in recordings.items():
            self._report.calls(verb, [recording.conductor_calls() for recording in found])
            messages = [len(own(recording)) for recording in found]
            self._report.value(f"AMQP messages per {verb}", statistics.median(messages),
                               all=messages)  # fmt: skip

    def _act(self, server: str, action: str, body: Any, status: str) -> float:
        """Seconds from the call until the server has a status and no task."""
        began = time.monotonic()
        self._api.call("POST", f"/servers/{server}/action", {action: body})
        self._wait(server, status)
        return time.monotonic() - began

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
        servers = self._booted(count)
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
