"""Files of other compute hosts: disks of servers that move are sent there.

``[libvirt]remote_filesystem_transport`` says how, as for nova-compute; this host and the other one
may differ in it, and in their agents.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from nova_lite.clock import SYSTEM, Clock
from nova_lite.drivers.disk import space
from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.drivers.disk.remote_link import Link, service_user
from nova_lite.drivers.disk.remote_rsync import RsyncFiles
from nova_lite.drivers.disk.remote_shell import ShellFiles
from nova_lite.errors import DiskError

LOG = logging.getLogger(__name__)

TELL_S, LOG_S = 1.0, 10.0  # seconds between two reports to the caller, and in the log
MIB = 1024**2


class RemoteHost(RemoteFiles):
    """One other host; ``base.RemoteFiles`` says what its methods do."""

    def __init__(
        self,
        address: str,
        conf: Any,
        clock: Clock = SYSTEM,
        *,
        name: str | None = None,
        ssh: tuple[str, ...] = ("ssh",),
    ) -> None:
        """
        :param address: where it is reached: dest_host of a migration
        :param conf: host, instances_path and [libvirt]remote_filesystem_transport are read
        :param name: its name for messages
        :param ssh: the ssh program with its first options
        """
        user = service_user(Path(conf.instances_path))
        self._link = Link(conf.host, address, name, user, ssh)
        kind = RsyncFiles if conf.libvirt.remote_filesystem_transport == "rsync" else ShellFiles
        self._files: RemoteFiles = kind(self._link)
        self._clock = clock

    def make_directory(self, path: str) -> None:
        self._files.make_directory(_checked(path))

    def remove(self, path: str) -> None:
        self._files.remove(_checked(path))

    def exists(self, path: str) -> bool:
        return self._files.exists(_checked(path))

    def touch(self, path: str) -> None:
        self._files.touch(_checked(path))

    def send(
        self,
        local: Path,
        remote_path: str,
        *,
        cancelled: threading.Event,
        progress: Callable[[int, int], None],
    ) -> None:
        meter = _Meter(f"{local} to host {self._link.there}", self._clock, progress)
        try:
            self._files.send(local, _checked(remote_path), cancelled=cancelled, progress=meter.at)
        except OSError as error:
            raise DiskError(f"cannot read {local}: {error.strerror}") from error
        meter.ended()

    def fetch(self, remote_path: str, local: Path) -> None:
        LOG.info("Copying %s of host %s to %s", remote_path, self._link.there, local)
        with space.reported(local):
            self._files.fetch(_checked(remote_path), local)


class _Meter:
    """Tells caller and log how far a file is."""

    def __init__(self, what: str, clock: Clock, progress: Callable[[int, int], None]) -> None:
        self._what, self._clock, self._progress = what, clock, progress
        self._began = self._told = self._logged = clock.monotonic()
        self._first: int | None = None
        self._sent = self._total = 0

    def at(self, sent: int, total: int) -> None:
        now = self._clock.monotonic()
        if self._first is None:
            self._first = sent
            if sent and sent < total:
                LOG.info("Sending %s goes on at %d MiB of %d", self._what, sent // MIB,
                         total // MIB)  # fmt: skip
            self._told = float("-inf")
        self._sent, self._total = sent, total
        if now - self._told >= TELL_S:
            self._told = now
            self._progress(sent, total)
        if now - self._logged >= LOG_S:
            self._logged = now
            LOG.info("Sending %s: %d MiB of %d, %.0f MiB/s", self._what, sent // MIB,
                     total // MIB, self._rate(now))  # fmt: skip

    def ended(self) -> None:
        self._progress(self._total, self._total)
        now = self._clock.monotonic()
        LOG.info("Sent %s: %d MiB in %.1f s, %.0f MiB/s", self._what, self._moved() // MIB,
                 now - self._began, self._rate(now))  # fmt: skip

    def _moved(self) -> int:
        return self._sent - (self._first or 0)

    def _rate(self, now: float) -> float:
        return self._moved() / MIB / max(now - self._began, 0.001)


def _checked(path: str) -> str:
    """A path that is what it seems to be.

    :raises DiskError: it is relative, or leads somewhere else
    """
    parts = PurePosixPath(path).parts
    if not path.startswith("/") or ".." in parts or len(parts) < 3 or "\n" in path:
        raise DiskError(f"{path!r} is no absolute path of a server's file on another host")
    return str(PurePosixPath(path))
