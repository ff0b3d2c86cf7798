"""What the last live migrations to other hosts made of the links, as the hypervisor told."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from nova_lite.clock import SYSTEM, Clock
from nova_lite.drivers.disk import durable

LOG = logging.getLogger(__name__)

KEPT = 5  # figures of each host
HOSTS = 200  # the latest
# Seconds: networks are rebuilt, and what a link had to carry beside is another load by now.
FRESH_S = 7 * 24 * 3600


@dataclass(frozen=True)
class LinkSpeed:
    """``bytes_s`` is the best of ``figures``: of fresh ones, or where there are none of old ones,
    which are good for a guess only."""

    bytes_s: int
    figures: int
    fresh: bool


class LinkSpeeds:
    """Bytes per second by host, in a small file below ``state_path``. Safe between threads.

    :param clock: figures have the time of day, for they outlive the machine's uptime
    """

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()

    def of(self, host: str) -> LinkSpeed | None:
        """What is known of the link to a host; None: nothing.

        A figure from the future is an old one: the clock was set.
        """
        now = self._clock.time()
        with self._lock:
            known = self._read().get(host, [])
        fresh = [speed for when, speed in known if 0 <= now - when <= FRESH_S]
        found = fresh or [speed for _, speed in known]
        return LinkSpeed(max(found), len(found), bool(fresh)) if found else None

    def add(self, host: str, bytes_s: int) -> None:
        """Keep a figure of now; a disk that refuses is logged."""
        with self._lock:
            known = self._read()
            known[host] = [*known.pop(host, []), (int(self._clock.time()), bytes_s)][-KEPT:]
            latest = dict(list(known.items())[-HOSTS:])
            try:
                durable.make_directory(self._path.parent)
                with durable.made_whole(self._path, 0o600) as part:
                    part.write_text(json.dumps(latest))
            except OSError as error:
                LOG.warning("The speed of the link to host %s is not kept in %s: %s",
                            host, self._path, error.strerror)  # fmt: skip

    def _read(self) -> dict[str, list[tuple[int, int]]]:
        try:
            kept = json.loads(self._path.read_text())
            return {
                str(host): [(int(when), int(speed)) for when, speed in figures if int(speed) > 0]
                for host, figures in kept.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            LOG.warning("Cannot read %s, no link's speed is known: %s", self._path, error)
            return {}
