"""Looks at Neutron for ports that are wired up: one for all servers that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from nova_lite.clock import Clock

# A server that has asked lately waits still, and is looked for beside others: the longest pause
# between two looks, and a little.
WAITS_S = 20.0
MOST = 50  # servers in one look; Neutron gets their uuids in the URL

# Server uuid -> ids of its ports that are wired up.
Active = Mapping[str, set[str]]


@dataclass
class _Look:
    began: float
    servers: frozenset[str]
    found: Future[Active] = field(default_factory=Future)


class Looks:
    """Has servers that wait at the same time share what is looked up for one of them.

    Ten boots at once would ask Neutron ten times as often as one, while it is busy with wiring up
    their ports.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._last: dict[str, _Look] = {}

    def at(
        self, server_uuid: str, within: float, look: Callable[[list[str]], Active]
    ) -> set[str]:
        """Ids of the server's ports that are wired up.

        :param within: seconds; a look for another server that began so lately counts, too
        :param look: asks Neutron about servers
        :raises: what ``look`` raises
        """
        now = self._clock.monotonic()
        with self._lock:
            self._forget(now)
            self._asked[server_uuid] = now
            last = self._last.get(server_uuid)
            new = last is None or last.began <= now - within
            if last is None or new:
                others = [server for server in reversed(self._asked) if server != server_uuid]
                last = _Look(now, frozenset([server_uuid, *others[: MOST - 1]]))
                self._last |= dict.fromkeys(last.servers, last)
        if new:
            self._do(last, look)
        return set(last.found.result().get(server_uuid, ()))

    def _do(self, mine: _Look, look: Callable[[list[str]], Active]) -> None:
        try:
            mine.found.set_result(look(sorted(mine.servers)))
        except BaseException as error:
            with self._lock:  # nobody else takes this for an answer
                self._last = {k: last for k, last in self._last.items() if last is not mine}
            mine.found.set_exception(error)

    def _forget(self, now: float) -> None:
        self._asked = {k: at for k, at in self._asked.items() if at > now - WAITS_S}
        self._last = {k: look for k, look in self._last.items() if k in self._asked}
