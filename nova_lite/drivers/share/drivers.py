"""The share drivers of this agent, each loaded when a share of its protocol first needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.loader import OnDemand
from nova_lite.drivers.share.base import ShareDriver, Shares
from nova_lite.errors import ShareProtocolUnsupported

GUARD_S = 300.0  # how long others may take to be let at a share


class ShareDrivers(Shares):
    """Finds the driver of a protocol by its name in lower case, an entry point."""

    def __init__(self, conf: Any) -> None:
        """:param conf: the agent's options, handed to every driver"""
        self._drivers = OnDemand("share", conf)
        self._guards = NamedLocks(Path(conf.state_path) / "nova-lite" / "shares", prefix="")

    def of(self, protocol: str) -> ShareDriver:
        """See ``Shares``."""

        def unknown(installed: str) -> ShareProtocolUnsupported:
            return ShareProtocolUnsupported(
                f"Share protocol {protocol} is not supported: this host has drivers for {installed}"
            )

        driver: ShareDriver = self._drivers.get(protocol.lower(), unknown)
        return driver

    @contextmanager
    def guard(self, share_id: str) -> Iterator[None]:
        """See ``Shares``."""
        with self._guards.held(share_id, GUARD_S):
            yield
