"""The share drivers of this agent, each loaded when a share of its protocol first needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from nova_lite.drivers import loader
from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.share.base import ShareDriver, Shares
from nova_lite.errors import ShareProtocolUnsupported

NAMESPACE = "nova_lite.share"
GUARD_S = 300.0  # how long others may take to be let at a share


class ShareDrivers(Shares):
    """Finds the driver of a protocol by its name in lower case, an entry point."""

    def __init__(self, conf: Any) -> None:
        """:param conf: the agent's options, handed to every driver"""
        self._conf = conf
        self._lock = threading.Lock()
        self._loaded: dict[str, ShareDriver] = {}
        self._guards = NamedLocks(Path(conf.state_path) / "nova-lite" / "shares", prefix="")

    def of(self, protocol: str) -> ShareDriver:
        """See ``Shares``."""
        name = protocol.lower()
        with self._lock:
            if name not in self._loaded:
                installed = metadata.entry_points(group=NAMESPACE).names
                if name not in installed:
                    raise ShareProtocolUnsupported(
                        f"Share protocol {protocol} is not supported: this host has drivers for "
                        f"{', '.join(sorted(installed))} (entry points {NAMESPACE})"
                    )
                self._loaded[name] = loader.load("share", name, self._conf)
            return self._loaded[name]

    @contextmanager
    def guard(self, share_id: str) -> Iterator[None]:
        """See ``Shares``."""
        with self._guards.held(share_id, GUARD_S):
            yield
