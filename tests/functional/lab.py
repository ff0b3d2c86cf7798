"""Machines for tests that kill agents or cut the power, and the processes that are killed.

Everything is in memory (tmpfs), guests have 32 MiB and no system, and the victim's interpreter is
started once, so that a kill and the resumption after it take well under a second.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

from tests.fakes.private_libvirtd import PrivateLibvirtd, link
from tests.functional.messages import REPOSITORY
from tests.functional.trial import Trial

MEMORY = Path("/dev/shm")


def usable() -> str | None:
    """Why these tests cannot run here; None when they can."""
    return None if os.access(MEMORY, os.W_OK) else f"needs a writable {MEMORY}"


class Machine:
    """A libvirtd in namespaces of its own, and parents of the victims that live there with it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.daemon = PrivateLibvirtd(directory, name)
        self._parents: list[subprocess.Popen] = []

    def run(self, order):
        """The exit status of a victim that does what ``victim.Order`` says."""
        try:
            parent = self._parents.pop()
        except IndexError:
            parent = subprocess.Popen(
                [*self.daemon.enter(), sys.executable, "-m", "tests.functional.victim"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )  # fmt: skip
        parent.stdin.write(json.dumps(order) + "\n")
        parent.stdin.flush()
        status = int(parent.stdout.readline())
        self._parents.append(parent)
        return status

    def stop(self):
        for parent in self._parents:
            parent.stdin.close()
            parent.wait(timeout=20)
        self.daemon.stop()


class Lab:
    """Machines by the names of their hosts, each started when a test first wants it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nvl-", dir=MEMORY))
        self.log = self.directory / "victim.log"
        # Method -> all boundaries that its scenarios have passed until now.
        self.passed: defaultdict[str, set[str]] = defaultdict(set)
        self._numbers = itertools.count(1)
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()
        self._linked: set[frozenset[str]] = set()

    def machine(self, name):
        with self._lock:
            if name not in self._machines:
                machine = Machine(self.directory / f"m{len(self._machines) + 1}", name)
                machine.daemon.start()
                self._machines[name] = machine
            return self._machines[name]

    def link(self, one, two):
        """Let two hosts reach each other by their names."""
        if frozenset((one, two)) in self._linked:
            return
        ends = [self.machine(name).daemon for name in (one, two)]
        names = self.directory / "hosts"
        addresses = zip(link(*ends), (one, two), strict=True)
        names.write_text("".join(f"{address} {name}\n" for address, name in addresses))
        for daemon in ends:
            daemon.run("mount", "--bind", str(names), "/etc/hosts")
        self._linked.add(frozenset((one, two)))

    def stop(self):
        for machine in self._machines.values():
            machine.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def said(self):
        """The end of the victims' log."""
        return self.log.read_text()[-3000:]

    def trial(self, *hosts, polite=True, kind=Trial):
        """A server that was scheduled to the first of these hosts; by default there is one."""
        return kind(self, next(self._numbers), hosts or ("host1",), polite)
