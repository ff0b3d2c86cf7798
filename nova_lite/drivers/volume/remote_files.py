"""Volumes that are files on a share, which this host mounts: NFS and SMB."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import native_io, need
from nova_lite.drivers.volume.mounts import Mounts, options_of
from nova_lite.errors import DiskError, VolumeAttachFailed, VolumeDetachFailed
from nova_lite.model.volume import Connection, VolumeSource

USER_NAME = re.compile(r"(user(?:name)?)=(?:[^ ,]+\\)?([^ ,]+)")


class FileVolumes(VolumeDriver):
    """Files on shares of one kind.

    A share is mounted while a volume on it is connected; which ones are is kept below
    ``state_path``, so that the last one takes the mount along whichever agent disconnects it.
    """

    cache = "none"

    def __init__(self, conf: Any, mounts: Mounts) -> None:
        self._conf = conf
        self._mounts = mounts

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        export = str(need(connection, "export"))
        path = self._path(connection)
        try:
            self._mounts.mount(export, self.options(connection), _user(connection, server_uuid))
        except (DiskError, OSError) as error:  # a TimeoutError is an OSError
            raise VolumeAttachFailed(connection.volume_id, _why("mount", export, error)) from None
        return {**connection.data, "device_path": str(path)}

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        export = str(need(connection, "export"))
        try:
            self._mounts.unmount(export, _user(connection, server_uuid))
        except (DiskError, OSError) as error:
            raise VolumeDetachFailed(connection.volume_id, _why("unmount", export, error)) from None

    def source(self, connection: Connection) -> VolumeSource:
        return VolumeSource(
            path=str(connection.data.get("device_path") or self._path(connection)),
            format=str(connection.data.get("format") or "raw"),
            io=self.io(),
            cache=self.cache,
        )

    def extend(self, connection: Connection, size_bytes: int) -> int:
        """QEMU makes the file larger as it makes the disk larger."""
        return size_bytes

    @abstractmethod
    def options(self, connection: Connection) -> list[str]:
        """Arguments of mount(8)."""

    def io(self) -> str | None:
        """QEMU's way of doing I/O, None for its own choice."""
        return None

    def _path(self, connection: Connection) -> Path:
        directory = self._mounts.directory(str(need(connection, "export")))
        return directory / str(need(connection, "name"))


class NfsVolumes(FileVolumes):
    """Files on NFS."""

    def __init__(self, conf: Any) -> None:
        base = Path(conf.libvirt.nfs_mount_point_base)
        super().__init__(conf, Mounts(Path(conf.state_path), "nfs", base))

    def options(self, connection: Connection) -> list[str]:
        common = self._conf.libvirt.nfs_mount_options
        return options_of(f"-o {common}" if common else None, connection.data.get("options"))

    def io(self) -> str | None:
        return native_io(self._conf)


class SmbVolumes(FileVolumes):
    """Files on SMB."""

    cache = "writeback"

    def __init__(self, conf: Any) -> None:
        base = Path(conf.libvirt.smbfs_mount_point_base)
        super().__init__(conf, Mounts(Path(conf.state_path), "cifs", base))

    def options(self, connection: Connection) -> list[str]:
        own, common = connection.data.get("options") or "", self._conf.libvirt.smbfs_mount_options
        text = f"{own} {common}".strip(" ,")
        if not USER_NAME.search(text):
            return options_of(text, "-o username=guest")
        return options_of(USER_NAME.sub(r"\1=\2", text))  # mount.cifs wants the name only


def _user(connection: Connection, server_uuid: str) -> str:
    return f"{connection.volume_id}.{server_uuid}"


def _why(verb: str, export: str, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"cannot {verb} {export}: others keep it busy"
    return f"cannot {verb} {export}: {error}"
