"""What the last live migrations to other hosts made of the links, as the hypervisor told."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from nova_lite.drivers.disk import durable

LOG = logging.getLogger(__name__)

KEPT = 5  # figures of each host
HOSTS = 200  # the latest


class LinkSpeeds:
    """Bytes per second by host, in a small file below ``state_path``. Safe between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def of(self, host: str) -> list[int]:
        """The latest figures, the newest last; empty where nothing is known."""
        with self._lock:
            return self._read().get(host, [])

    def add(self, host: str, bytes_s: int) -> None:
        """Keep a figure; a disk that refuses is logged."""
        with self._lock:
            known = self._read()
            known[host] = [*known.pop(host, []), bytes_s][-KEPT:]
            latest = dict(list(known.items())[-HOSTS:])
            try:
                durable.make_directory(self._path.parent)
                with durable.made_whole(self._path, 0o600) as part:
                    part.write_text(json.dumps(latest))
            except OSError as error:
                LOG.warning("The speed of the link to host %s is not kept in %s: %s",
                            host, self._path, error.strerror)  # fmt: skip

    def _read(self) -> dict[str, list[int]]:
        try:
            kept = json.loads(self._path.read_text())
            return {
                str(host): [int(one) for one in speeds if int(one) > 0]
                for host, speeds in kept.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            LOG.warning("Cannot read %s, no link's speed is known: %s", self._path, error)
            return {}
