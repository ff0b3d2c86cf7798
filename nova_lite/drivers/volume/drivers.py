"""The volume drivers of this agent, each loaded when a volume of its kind first needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.loader import OnDemand
from nova_lite.drivers.volume.base import VolumeDriver, Volumes
from nova_lite.errors import VolumeDriverMissing
from nova_lite.model.volume import Connection

GUARD_S = 600.0  # how long others may take to connect volumes of the same target
ISCSIADM = (Path("/sbin/iscsiadm"), Path("/usr/sbin/iscsiadm"))


class VolumeDrivers(Volumes):
    """Finds the driver of a connection by its type, an entry point of ``nova_lite.volume``."""

    def __init__(self, conf: Any) -> None:
        """:param conf: the agent's options, handed to every driver"""
        self._drivers = OnDemand("volume", conf)
        self._guards = NamedLocks(lock_directory(conf), prefix="os-brick-")

    def of(self, connection: Connection) -> VolumeDriver:
        """See ``Volumes``."""

        def unknown(installed: str) -> VolumeDriverMissing:
            return VolumeDriverMissing(
                f"Invalid volume: no driver for {connection.type!r}, the kind of volume "
                f"{connection.volume_id}, is installed on this host; there are drivers for "
                f"{installed}"
            )

        driver: VolumeDriver = self._drivers.get(connection.type, unknown)
        return driver

    @contextmanager
    def guard(self, volume: Mapping[str, Any]) -> Iterator[None]:
        """See ``Volumes``; the lock is the one that os-brick takes in other services."""
        if not _shared(volume.get("shared_targets", False)):
            yield
            return
        with self._guards.held(str(volume["service_uuid"]), GUARD_S):
            yield


def lock_directory(conf: Any) -> Path:
    """Where the lock files are that services of this host share."""
    return Path(conf.oslo_concurrency.lock_path or Path(conf.state_path) / "locks")


def _shared(targets: bool | None) -> bool:
    """Whether the lock is needed; an initiator that scans only on demand needs none."""
    if targets:
        return any(path.exists() and not _scans_on_demand(path) for path in ISCSIADM)
    return targets is None


def _scans_on_demand(iscsiadm: Path) -> bool:
    return b"node.session.scan" in iscsiadm.read_bytes()
