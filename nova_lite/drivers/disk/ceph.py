"""A Ceph cluster as local disks use it, through its own programs ``rbd`` and ``ceph``.

Each call is a process of some 50 milliseconds ("ceph", which is Python, half a second). Bindings
would keep librados, its threads and its memory in an agent that seldom needs them.

https://docs.ceph.com/en/latest/man/8/rbd/
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from nova_lite.drivers.disk import process
from nova_lite.errors import DiskError

LOG = logging.getLogger(__name__)

_PACKAGES = {"rbd": "ceph-common", "ceph": "ceph-common"}
QUICK_S = 60.0
# Copying a parent's blocks or removing an image takes as long as the image is large.
LONG_S = 6 * 3600.0
_MONITORS_S = 600.0  # seconds for which the cluster's monitors are believed to be the same
NOT_PERMITTED, NOT_THERE, BUSY, THERE_ALREADY, HAS_SNAPSHOTS = 1, 2, 16, 17, 39
_AWAY = ("t connect", "error connecting", "timed out", "opening pool", "config file")


@dataclass(frozen=True)
class Monitors:
    """Who keeps the cluster's map: the cluster's id, and (address, TCP port) of each monitor."""

    fsid: str
    hosts: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Room:
    """Bytes: what all disks of the cluster hold together, and what one pool still takes."""

    total: int
    free: int


class Ceph:
    """Runs one command after the other; safe to share between threads."""

    def __init__(self, conf_file: str = "", user: str | None = None, connect_s: int = 5) -> None:
        """
        :param conf_file: path of ceph.conf; empty for where Ceph itself looks for it
        :param user: client name without ``client.``; None for Ceph's usual one
        :param connect_s: seconds to wait for the monitors
        """
        self._conf_file = conf_file
        self._user = user
        self._connect_s = connect_s
        self._lock = threading.Lock()
        self._monitors: tuple[float, Monitors] | None = None

    @property
    def name(self) -> str:
        """What operators know the cluster by."""
        return f"the Ceph cluster of {self._conf_file or '/etc/ceph/ceph.conf'}"

    def rbd(self, *argv: str, timeout_s: float = QUICK_S) -> str:
        """What ``rbd`` prints.

        :raises process.ToolFailed: ``status`` is the error number, such as NOT_THERE
        :raises DiskError: the cluster cannot be reached, or does not answer
        """
        return self._run("rbd", "--client-mount-timeout", str(self._connect_s), *argv,
                         timeout_s=timeout_s)  # fmt: skip

    def monitors(self) -> Monitors:
        """The cluster's id and monitors, asked for every ten minutes at most; raises DiskError."""
        with self._lock:
            if self._monitors is None or time.monotonic() - self._monitors[0] > _MONITORS_S:
                self._monitors = (time.monotonic(), _monitors(self._ceph("mon", "dump")))
            return self._monitors[1]

    def room(self, pool: str) -> Room:
        """How much there is and how much a pool still takes, its copies counted.

        :raises DiskError: the cluster does not answer, or has no such pool
        """
        answer = self._ceph("df")
        for found in answer["pools"]:
            if found["name"] == pool:
                return Room(answer["stats"]["total_bytes"], found["stats"]["max_avail"])
        raise DiskError(
            f"{self.name} has no pool {pool!r}: create it, or name another one in "
            "[libvirt]images_rbd_pool"
        )

    def block(self, address: str, seconds: int) -> None:
        """Take nothing more from one client, which is known by its address, ``IP:port/number``.

        The capability ``mon 'profile rbd'`` permits it.
        """
        self._run("ceph", "--connect-timeout", str(self._connect_s), "osd", "blocklist", "add",
                  address, str(seconds), timeout_s=QUICK_S)  # fmt: skip

    def qemu_name(self, image: str) -> str:
        """What QEMU's programs call ``pool/image`` or ``pool/image@snapshot``."""
        options = {
            "id": self._user,
            "conf": self._conf_file,
            "client_mount_timeout": str(self._connect_s),
        }
        named = "".join(f":{key}={_escaped(value)}" for key, value in options.items() if value)
        return f"rbd:{image}{named}"

    def _ceph(self, *argv: str) -> Any:
        out = self._run("ceph", "--connect-timeout", str(self._connect_s), *argv,
                        "--format", "json", timeout_s=QUICK_S)  # fmt: skip
        return json.loads(out)

    def _run(self, program: str, *argv: str, timeout_s: float) -> str:
        command = [program]
        command += ["--conf", self._conf_file] if self._conf_file else []
        command += ["--id", self._user] if self._user else []
        try:
            return process.run(*command, *argv, timeout_s=timeout_s, packages=_PACKAGES)
        except process.ToolFailed as failed:
            if failed.status is not None and not any(text in failed.stderr for text in _AWAY):
                raise
            raise DiskError(
                f"{self.name} does not answer user client.{self._user or 'admin'}: {failed}. Check "
                "its monitors (ceph status), the user's keyring on this host, and [libvirt]rbd_user"
            ) from failed


def _monitors(dump: dict[str, Any]) -> Monitors:
    addresses = [monitor["addr"].rpartition("/")[0] for monitor in dump["mons"]]
    pairs = [address.rpartition(":") for address in addresses]
    return Monitors(
        dump["fsid"], tuple((host.strip("[]"), port or None) for host, _, port in pairs)
    )


def _escaped(value: str) -> str:
    """A value in one of QEMU's ``key=value`` lists that are separated by colons."""
    return "".join(f"\\{letter}" if letter in ":@=\\" else letter for letter in value)
