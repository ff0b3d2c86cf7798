"""Shares that mount(8) mounts: NFS and CephFS."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import process
from nova_lite.drivers.share.base import ShareDriver
from nova_lite.drivers.volume import mounts
from nova_lite.drivers.volume.mounts import Mounts
from nova_lite.errors import DiskError, ShareMountFailed, ShareUnmountFailed
from nova_lite.model.share import Share


class MountedShares(ShareDriver):
    """Mounted while a server uses them; which ones do is kept below ``state_path``."""

    def __init__(self, conf: Any, fstype: str, base: str) -> None:
        self._conf = conf
        self._mounts = Mounts(Path(conf.state_path), fstype, Path(base))

    def mount(self, share: Share, server_uuid: str) -> None:
        try:
            with self.options(share) as options:
                self._mounts.mount(
                    share.export, options, _user(share, server_uuid), self.place(share)
                )
        except (DiskError, OSError) as error:  # a TimeoutError is an OSError
            raise ShareMountFailed(share.id, server_uuid, _why(error)) from None

    def unmount(self, share: Share, server_uuid: str) -> None:
        try:
            self._mounts.unmount(share.export, _user(share, server_uuid), self.place(share))
        except (DiskError, OSError) as error:
            raise ShareUnmountFailed(share.id, server_uuid, _why(error)) from None

    def mounted(self, share: Share) -> bool:
        return mounts.mounted(self.directory(share))

    def directory(self, share: Share) -> Path:
        return self._mounts.directory(self.place(share))

    def place(self, share: Share) -> str:
        """What tells the mount from others: what is mounted."""
        return share.export

    @abstractmethod
    @contextmanager
    def options(self, share: Share) -> Iterator[list[str]]:
        """Arguments of mount(8), good while in the context."""


class NfsShares(MountedShares):
    """This host is let in by its address, so that all its servers use one mount."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf, "nfs", conf.libvirt.nfs_mount_point_base)

    @contextmanager
    def options(self, share: Share) -> Iterator[list[str]]:
        common = self._conf.libvirt.nfs_mount_options
        yield ["-o", common] if common else []


class CephFsShares(MountedShares):
    """Every server is let in by an identity of its own, and so has a mount of its own."""

    needs_key = True

    def __init__(self, conf: Any) -> None:
        super().__init__(conf, "ceph", conf.libvirt.ceph_mount_point_base)

    def place(self, share: Share) -> str:
        return f"{share.access_to}@{share.export}"

    @contextmanager
    def options(self, share: Share) -> Iterator[list[str]]:
        with process.secret_file(share.access_key or "") as key:
            own = [f"name={share.access_to}", f"secretfile={key}"]
            yield ["-o", ",".join([*(self._conf.libvirt.ceph_mount_options or ()), *own])]


def _user(share: Share, server_uuid: str) -> str:
    return f"{share.id}.{server_uuid}"


def _why(error: Exception) -> str:
    return "others keep it busy" if isinstance(error, TimeoutError) else str(error)
