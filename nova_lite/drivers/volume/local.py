"""Volumes that are block devices of this host already, such as those of Cinder's LVM on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import need
from nova_lite.errors import VolumeExtendFailed
from nova_lite.model.volume import Connection, VolumeSource


class LocalVolumes(VolumeDriver):
    """Block devices under the name that Cinder knows; nothing is connected."""

    def __init__(self, conf: Any) -> None:
        """:param conf: no option matters here"""

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        self.source(connection)
        return connection.data

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        """Nothing is to be done."""

    def source(self, connection: Connection) -> VolumeSource:
        return VolumeSource(path=str(need(connection, "device_path")), type="block")

    def extend(self, connection: Connection, size_bytes: int) -> int:
        """The size that the device has by now."""
        path = self.source(connection).path
        try:
            with open(path, "rb") as device:
                return device.seek(0, 2)
        except OSError as error:
            raise VolumeExtendFailed(
                connection.volume_id, f"{path} cannot be read: {error.strerror}"
            ) from None


class GpfsVolumes(LocalVolumes):
    """Files on a GPFS that is mounted on every host."""

    def source(self, connection: Connection) -> VolumeSource:
        return VolumeSource(path=str(need(connection, "device_path")), type="file")
