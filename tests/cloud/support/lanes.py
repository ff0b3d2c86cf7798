"""Lanes: tests of several files at the same time, each lane on a pair of hosts of its own.

``pytest tests/cloud -n 2`` makes two: node1 and node2, node3 and node4. A lane sees its own hosts
only, and what its tests make has names of its own. Tests marked ``alone`` are for a run without
lanes: they want all hosts for themselves, or disturb what all hosts share.
"""

from __future__ import annotations

import os

HOSTS = 2


def _number() -> int | None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return int(worker.removeprefix("gw")) if worker else None


def hosts() -> tuple[str, ...]:
    """The hosts of this lane, the one under test first; empty without lanes."""
    number = _number()
    if number is None:
        return ()
    return tuple(f"node{number * HOSTS + host + 1}" for host in range(HOSTS))


def name_prefix() -> str:
    """What the names of this lane's things begin with."""
    number = _number()
    return "nlt" if number is None else f"nlt{number}"
