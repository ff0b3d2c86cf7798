"""Images, snapshots and clones in a Ceph cluster: every call may be repeated.

An image is named ``pool/image``, a snapshot ``pool/image@snapshot``.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from nova_lite.drivers.disk import ceph
from nova_lite.drivers.disk.ceph import Ceph
from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.errors import DiskError

LOG = logging.getLogger(__name__)

# Snapshots that an agent takes for a moment, by the names that stock agents give them, too; what
# an operator has taken is never removed with a disk.
_OURS = re.compile(r"nova-resize|[0-9a-f]{32}")
# Seconds for which a client is shut out. One that is alive finds out within a minute, and cannot
# open the image again; by its host's next start it is gone.
_SHUT_OUT_S = 7 * 86400


class RbdImages:
    """The images of one cluster. Methods raise DiskError when it does not answer."""

    def __init__(
        self,
        cluster: Ceph,
        *,
        retries: int = 12,
        pause_s: float = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        :param retries: how often an image is tried to be removed that somebody has open
        :param pause_s: seconds between two tries
        """
        self.cluster = cluster
        self._retries = retries
        self._pause_s = pause_s
        self._sleep = sleep

    def names(self, pool: str) -> list[str]:
        """All images of a pool."""
        found: list[str] = json.loads(self.cluster.rbd("ls", "--format", "json", pool))
        return found

    def info(self, name: str) -> dict[str, Any] | None:
        """What Ceph tells of an image or snapshot (``size`` in bytes ...), None if it has none."""
        try:
            found: dict[str, Any] = json.loads(self.cluster.rbd("info", "--format", "json", name))
        except ToolFailed as failed:
            if failed.status == ceph.NOT_THERE:
                return None
            raise
        return found

    def create(self, image: str, size_bytes: int) -> None:
        """Make an empty image."""
        self.cluster.rbd("create", "--size", f"{size_bytes}B", image)

    def clone(self, snapshot: str, image: str) -> None:
        """Make an image that shares the blocks of a protected snapshot."""
        self.cluster.rbd("clone", snapshot, image)

    def resize(self, image: str, size_bytes: int) -> None:
        """Make an image larger."""
        self.cluster.rbd("resize", "--no-progress", "--size", f"{size_bytes}B", image)

    def flatten(self, image: str) -> None:
        """Give a clone blocks of its own; an image that is none is left as it is."""
        info = self.info(image)
        if info is None or info.get("parent"):
            self.cluster.rbd("flatten", "--no-progress", image, timeout_s=ceph.LONG_S)

    def rename(self, image: str, new: str) -> None:
        """Give an image another name within its pool."""
        self.cluster.rbd("rename", image, new)

    def snapshots(self, image: str) -> dict[str, bool]:
        """Snapshot -> whether it is protected; empty where there is no image."""
        try:
            found = json.loads(self.cluster.rbd("snap", "ls", "--format", "json", image))
        except ToolFailed as failed:
            if failed.status == ceph.NOT_THERE:
                return {}
            raise
        return {snapshot["name"]: str(snapshot["protected"]) == "true" for snapshot in found}

    def take(self, image: str, snapshot: str, *, protected: bool = True) -> None:
        """Take a snapshot.

        :param protected: of which clones can be made
        """
        taken = self.snapshots(image)
        if snapshot not in taken:
            self.cluster.rbd("snap", "create", "--no-progress", f"{image}@{snapshot}")
        if protected and not taken.get(snapshot):
            self.cluster.rbd("snap", "protect", f"{image}@{snapshot}")

    def roll_back(self, image: str, snapshot: str) -> bool:
        """Give an image the size and content that it had when a snapshot was taken.

        :return: whether there is such a snapshot
        """
        if snapshot not in self.snapshots(image):
            return False
        name = f"{image}@{snapshot}"
        self.cluster.rbd("snap", "rollback", "--no-progress", name, timeout_s=ceph.LONG_S)
        return True

    def drop(self, image: str, snapshot: str) -> None:
        """Remove a snapshot.

        :raises DiskError: it has clones
        """
        taken = self.snapshots(image)
        if snapshot not in taken:
            return
        try:
            if taken[snapshot]:
                self.cluster.rbd("snap", "unprotect", f"{image}@{snapshot}")
            self.cluster.rbd("snap", "rm", "--no-progress", f"{image}@{snapshot}")
        except ToolFailed as failed:
            if failed.status != ceph.BUSY:
                raise
            raise DiskError(
                f"Snapshot {image}@{snapshot} has clones: see 'rbd children {image}@{snapshot}', "
                "and flatten or remove them"
            ) from failed

    def remove(self, image: str, also: str | None = None, *, patient: bool = True) -> None:
        """Remove an image and the snapshots that agents take; no image is success.

        :param also: another snapshot that goes with it
        :param patient: whether to wait for somebody who still has it open
        :raises DiskError: somebody still has it open, or it has somebody else's snapshots
        """
        tries = max(1, self._retries) if patient else 1
        for left in range(tries, 0, -1):
            try:
                self.cluster.rbd("rm", "--no-progress", image, timeout_s=ceph.LONG_S)
                return
            except ToolFailed as failed:
                if failed.status == ceph.NOT_THERE:
                    return
                if failed.status == ceph.HAS_SNAPSHOTS:
                    self._drop_all(image, also)
                elif failed.status != ceph.BUSY:
                    raise
                elif left > 1:
                    LOG.info("RBD image %s is still in use; trying again", image)
                    self._sleep(self._pause_s)
        raise DiskError(
            f"RBD image {image} is still in use: see 'rbd status {image}' for who has it open; "
            "the watch of a client that died ends after 30 seconds"
        )

    def shut_out(self, image: str) -> list[str]:
        """Let nobody who has an image open write to it any more; no image is success.

        Ceph breaks the lock of a client that died, but two that live pass it to and fro.

        :returns: the addresses of those who had it open
        :raises DiskError: Ceph does not let this host do so
        """
        try:
            status = json.loads(self.cluster.rbd("status", "--format", "json", image))
            locks = json.loads(self.cluster.rbd("lock", "ls", "--format", "json", image))
        except ToolFailed as failed:
            if failed.status == ceph.NOT_THERE:
                return []
            raise
        openers = {str(row["address"]) for row in (*status.get("watchers", ()), *locks)}
        for address in sorted(openers):
            try:
                self.cluster.block(address, _SHUT_OUT_S)
            except ToolFailed as failed:
                raise DiskError(
                    f"RBD image {image} is open at {address}, and this host may not shut that out: "
                    f"{failed}. Give its Ceph user the capability mon 'profile rbd', or make sure "
                    f"that 'rbd status {image}' shows no watcher"
                ) from failed
        for lock in locks:
            try:
                self.cluster.rbd("lock", "rm", image, lock["id"], lock["locker"])
            except ToolFailed as failed:
                if failed.status != ceph.NOT_THERE:
                    raise
        return sorted(openers)

    def _drop_all(self, image: str, also: str | None) -> None:
        taken = self.snapshots(image)
        foreign = [name for name in taken if not _OURS.fullmatch(name) and name != also]
        if foreign:
            raise DiskError(
                f"RBD image {image} has snapshots ({', '.join(foreign)}): remove them first"
            )
        for snapshot in taken:
            self.drop(image, snapshot)
