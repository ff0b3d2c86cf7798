"""Mounted file systems that hold volumes, shared by all volumes of the same export."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

from nova_lite import mount_table
from nova_lite.drivers.disk import durable, process
from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.drivers.volume.users import Users
from nova_lite.errors import DiskError

LOG = logging.getLogger(__name__)

MOUNT_S = 120.0
UMOUNT_S = 60.0
WAIT_S = MOUNT_S + UMOUNT_S + 60.0  # for others that mount or unmount the same export
PACKAGES = {
    "mount.nfs": "nfs-common", "mount.cifs": "cifs-utils", "mount.ceph": "ceph-common",
}  # fmt: skip


class Mounts:
    """Mounts exports at ``<base>/<md5 of the export>``, the places that nova-compute uses."""

    def __init__(self, state_path: Path, fstype: str, base: Path) -> None:
        """:param state_path: nova.conf's, where the users of each mount are kept"""
        self._fstype = fstype
        self._base = base
        self._users = Users(state_path / "nova-lite" / "mounts")

    def directory(self, export: str) -> Path:
        """Where the export is or will be mounted."""
        return self._base / _digest(export)

    def mount(
        self, export: str, options: list[str], user: str, place: str | None = None
    ) -> None:
        """Have the export mounted for a user; one that is mounted stays as it is.

        :param options: arguments of mount(8)
        :param place: what the mount is known by, where not by its export
        :raises DiskError: mount(8) fails or is not there
        :raises TimeoutError: another mount of the same export does not end
        """
        directory, key = self.directory(place or export), _digest(place or export)
        with self._users.held(key, WAIT_S):
            self._users.add(key, user)
            if mounted(directory):
                return
            durable.make_directory(directory)
            try:
                process.run(
                    "mount", "-t", self._fstype, *options, export, str(directory),
                    timeout_s=MOUNT_S, packages=PACKAGES,
                )  # fmt: skip
            except DiskError:
                if not mounted(directory):
                    self._users.remove(key, user)
                    raise

    def unmount(self, export: str, user: str, place: str | None = None) -> None:
        """The user needs the export no more; it is unmounted with its last user.

        A mount that somebody unknown to this agent uses, such as a guest that nova-compute
        started, stays until its next last user goes.

        :raises TimeoutError: a mount of the same export does not end
        """
        directory, key = self.directory(place or export), _digest(place or export)
        with self._users.held(key, WAIT_S):
            if not self._users.others(key, user):
                _unmount(directory)
            self._users.remove(key, user)


def _unmount(directory: Path) -> None:
    if mounted(directory):
        try:
            process.run("umount", str(directory), timeout_s=UMOUNT_S)
        except ToolFailed as error:
            LOG.warning("%s stays mounted: %s", directory, error.message)
            return
    with contextlib.suppress(OSError):  # not there, or somebody keeps something in it
        directory.rmdir()


def mounted(directory: Path) -> bool:
    """Whether something is mounted there; never asks the file system itself, which may hang."""
    return any(point == directory for point, _ in mount_table.mounts())


def _digest(export: str) -> str:
    return hashlib.md5(export.encode(), usedforsecurity=False).hexdigest()


def options_of(*texts: Any) -> list[str]:
    """Arguments of mount(8) from texts such as '-o vers=4,soft'."""
    return [word for text in texts if text for word in str(text).split()]
