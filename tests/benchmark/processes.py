"""What an agent costs its host: memory and CPU time, with all its helpers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.support.devcloud import DevCloud, Process

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """MiB, over all processes; pss counts shared pages once."""

    rss: float
    pss: float
    threads: int
    processes: int


def family(cloud: DevCloud, node: str) -> list[int]:
    """The agent, its descendants, and the privsep daemons that were started for it."""
    agent = cloud.agent(node)
    children: dict[int, list[int]] = {}
    daemons = []
    configuration = f"{cloud.state}/etc/{node}/nova.conf"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
        # They leave their parent, but name the agent's configuration.
        if configuration in command and any(part.endswith("privsep-helper") for part in command):
            daemons.append(int(entry.name))
    found, queue = [], [agent.pid, *daemons]
    while queue:
        pid = queue.pop()
        if pid not in found:
            found.append(pid)
            queue += children.get(pid, [])
    return found


def memory(cloud: DevCloud, node: str) -> Memory:
    rss = pss = 0.0
    threads = 0
    pids = family(cloud, node)
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Rss":
                rss += int(value.split()[0]) * 1024 / MIB
            elif name == "Pss":
                pss += int(value.split()[0]) * 1024 / MIB
        threads += len(os.listdir(f"/proc/{pid}/task"))
    return Memory(rss, pss, threads, len(pids))


def cpu_seconds(cloud: DevCloud, node: str) -> float:
    """CPU time so far of the family, with that of children that have ended."""
    total = 0
    for pid in family(cloud, node):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended, and is in its parent's time
        total += sum(int(value) for value in fields[11:15])
    return total / TICKS


def age(process: Process) -> float:
    """Seconds since a process was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.start_ticks / TICKS
