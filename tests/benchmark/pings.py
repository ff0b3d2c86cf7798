"""What a guest misses, as its network sees it: pings from outside, and which of them it answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cloud.support.networks import NAMESPACE

ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+)", re.M)


@dataclass
class Pings:
    """Answers of a period; filled when it is over. ``interval`` is seconds between two pings."""

    interval: float
    answers: dict[int, float] = field(default_factory=dict)  # number -> time.time()

    @property
    def lost(self) -> int:
        """Pings between the first and the last answer that have none."""
        return max(self.answers) - min(self.answers) + 1 - len(self.answers) if self.answers else 0

    @property
    def gap(self) -> float:
        """Seconds of the longest pause between two answers."""
        times = sorted(self.answers.values())
        pauses = (later - earlier for earlier, later in zip(times, times[1:], strict=False))
        return max(pauses, default=0.0)

    def read(self, said: str) -> None:
        """Take in what ``ping -D`` has said; an answer that came twice counts once."""
        for time, number in ANSWER.findall(said):
            self.answers.setdefault(int(number), float(time))


@contextmanager
def pinged(address: str, interval: float) -> Iterator[Pings]:
    """Ping an address of the network ``public`` from outside while the block runs; needs root."""
    found = Pings(interval)
    ping = subprocess.Popen(
        ["ip", "netns", "exec", NAMESPACE, "ping", "-D", "-n", "-i", str(interval), address],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield found
    finally:
        ping.terminate()
        said, _ = ping.communicate()
        found.read(said)
