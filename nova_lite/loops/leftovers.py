"""Directories of servers that were deleted while this agent did not run.

A server that has a guest as well is found by ``strays``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.engine.engine import Engine

LOG = logging.getLogger(__name__)

# A server's directory, or one whose removal was cut off.
DIRECTORY = re.compile(r"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})(?:_del)?")


class Leftovers:
    """Checks the directories without a guest against the Instance records.

    ``reap`` removes what is left of a server if it was deleted; it tells whether that is so.
    ``attempts`` is how often a directory is tried to be removed.
    """

    def __init__(
        self,
        instances_path: Path,
        attempts: int,
        hypervisor: Hypervisor,
        engine: Engine,
        reap: Callable[[str], bool],
    ) -> None:
        self._instances_path = instances_path
        self._attempts = attempts
        self._hypervisor = hypervisor
        self._engine = engine
        self._reap = reap
        self._tried: Counter[str] = Counter()

    def tick(self) -> None:
        """Look at all directories once."""
        found = servers_with_directory(self._instances_path)
        self._tried = Counter({uuid: n for uuid, n in self._tried.items() if uuid in found})
        guests = {domain.uuid for domain in self._hypervisor.domains()} if found else set()
        for uuid in sorted(found - guests):
            if self._tried[uuid] >= self._attempts or self._engine.busy(uuid):
                continue
            if self._reap(uuid):
                LOG.info("Directory of deleted server %s is still here: removing it", uuid)
                self._tried[uuid] += 1
            else:
                self._tried[uuid] = self._attempts  # another host's, or not the cloud's


def servers_with_directory(instances_path: Path) -> set[str]:
    """The servers that have a directory here, or one whose removal was cut off."""
    if not instances_path.is_dir():
        return set()
    names = (DIRECTORY.fullmatch(path.name) for path in instances_path.iterdir())
    return {match[1] for match in names if match}
