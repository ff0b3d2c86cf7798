"""External events that an operation waits for, such as Neutron's network-vif-plugged."""

from __future__ import annotations

import logging
import threading

from nova_lite.clock import SYSTEM, Clock

LOG = logging.getLogger(__name__)

VIF_PLUGGED = "network-vif-plugged"
VOLUME_REIMAGED = "volume-reimaged"


class EventHub:
    """Keeps the events of watched servers, so that an event that comes early is not lost."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._arrived: dict[str, dict[tuple[str, str | None], str]] = {}

    def watch(self, server_uuid: str) -> None:
        """Keep events of this server from now on; call it before anything triggers events."""
        with self._changed:
            self._arrived.setdefault(server_uuid, {})

    def forget(self, server_uuid: str) -> None:
        with self._changed:
            self._arrived.pop(server_uuid, None)
            self._changed.notify_all()

    def deliver(self, server_uuid: str, name: str, tag: str | None, status: str) -> bool:
        """Take an event in; False when nobody waits for events of this server."""
        with self._changed:
            kept = self._arrived.get(server_uuid)
            if kept is None:
                return False
            kept[name, tag] = status
            self._changed.notify_all()
            return True

    def status(self, server_uuid: str, name: str, tag: str | None) -> str | None:
        """Status of an event that has arrived, None when it has not."""
        with self._changed:
            return self._arrived.get(server_uuid, {}).get((name, tag))

    def wait(
        self,
        server_uuid: str,
        name: str,
        tags: set[str],
        timeout: float,
        cancelled: threading.Event,
    ) -> set[str]:
        """Wait until ``name`` has arrived for all ``tags``; return those still missing.

        Returns early when one of them came with the status ``failed`` (its tag counts as missing)
        or when ``cancelled`` is set. ``timeout`` in seconds.
        """
        deadline = self._clock.monotonic() + timeout
        with self._changed:
            while True:
                kept = self._arrived.get(server_uuid, {})
                missing = {tag for tag in tags if kept.get((name, tag)) != "completed"}
                failed = any(kept.get((name, tag)) == "failed" for tag in missing)
                left = deadline - self._clock.monotonic()
                if not missing or failed or left <= 0 or cancelled.is_set():
                    return missing
                self._clock.wait(self._changed, min(left, 1.0))
