"""Volumes that are files, with a ledger on disk of what is connected: it outlives a killed agent.

Stands in for ``drivers.volume`` where real guests are to have volumes without any storage service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.errors import InvalidVolume, VolumeAttachFailed
from nova_lite.model.volume import Connection, VolumeSource

TYPE = "file"  # the driver_volume_type of these volumes
CONNECTOR = {"host": "host1", "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux"}
SIZE = 1024**2  # bytes of a volume that the test has not made itself


class FileVolumes(VolumeDriver):
    """Volume ``<directory>/volumes/<volume id>``, connected as long as
    ``<directory>/connected/<volume id>.<server uuid>`` exists. What Cinder calls ``name`` in the
    connection takes the place of the volume's id.

    :param directory: of the host
    :param storage: where the volumes are, if several hosts share them

    ``broken`` holds ids of volumes that cannot be connected.
    """

    def __init__(self, directory: Path, storage: Path | None = None) -> None:
        self._volumes = (storage or directory) / "volumes"
        self._connected = directory / "connected"
        self.broken: set[str] = set()
        for path in (self._volumes, self._connected):
            path.mkdir(parents=True, exist_ok=True)

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        if connection.volume_id in self.broken:
            raise VolumeAttachFailed(connection.volume_id, "broken on purpose")
        path = self._volumes / _name(connection)
        if not path.exists():
            with path.open("wb") as volume:
                volume.truncate(SIZE)
        (self._connected / f"{_name(connection)}.{server_uuid}").touch()
        return {**connection.data, "device_path": str(path)}

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        (self._connected / f"{_name(connection)}.{server_uuid}").unlink(missing_ok=True)

    def source(self, connection: Connection) -> VolumeSource:
        if not connection.data.get("device_path"):
            raise InvalidVolume(f"Invalid volume: {connection.volume_id} lacks device_path")
        return VolumeSource(str(connection.data["device_path"]), type="file")

    def extend(self, connection: Connection, size_bytes: int) -> int:
        """A GiB of theirs is a MiB: the file tells the size."""
        return Path(self.source(connection).path).stat().st_size

    def connected(self) -> list[tuple[str, str]]:
        """(volume id, server uuid) of what is connected now."""
        names = sorted(path.name for path in self._connected.iterdir())
        return [(volume, server) for volume, _, server in (name.partition(".") for name in names)]


def _name(connection: Connection) -> str:
    return str(connection.data.get("name") or connection.volume_id)


class FakeVolumeDrivers:
    """Knows file volumes only."""

    def __init__(self, driver: VolumeDriver) -> None:
        self._driver = driver

    def of(self, connection: Connection) -> VolumeDriver:
        if connection.type != TYPE:
            raise InvalidVolume(f"Invalid volume: no driver for {connection.type!r}")
        return self._driver

    @contextmanager
    def guard(self, volume: Mapping[str, Any]) -> Iterator[None]:
        yield


class FakeHostConnector:
    """A host that is reached by its address."""

    def __init__(self, host: str = "host1") -> None:
        self._host = host

    def properties(self) -> Mapping[str, Any]:
        return {**CONNECTOR, "host": self._host}
