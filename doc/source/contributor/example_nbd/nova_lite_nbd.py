"""Volumes that an NBD server exports, such as qemu-nbd; QEMU reaches them by itself.

Cinder's side is to answer an attachment with ``driver_volume_type`` nbd and the data ``host``,
``port`` and ``export``.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import need
from nova_lite.errors import VolumeAttachFailed, VolumeExtendFailed
from nova_lite.model.volume import Connection, NetworkSource, VolumeSource

PORT = 10809
ANSWER_S = 10.0


class NbdVolumes(VolumeDriver):
    """Nothing of a volume is on the host, so there is nothing to undo either."""

    def __init__(self, conf: Any) -> None:
        """:param conf: the agent's options; this driver has none"""

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        """Find out now, not when the guest reads, that the server is not there."""
        host, port = self._address(connection)
        try:
            socket.create_connection((host, port), timeout=ANSWER_S).close()
        except OSError as error:
            reason = f"the NBD server {host}:{port} does not answer: {error}"
            raise VolumeAttachFailed(connection.volume_id, reason) from None
        return connection.data

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        """QEMU has closed its connection when the guest lost its disk."""

    def source(self, connection: Connection) -> VolumeSource:
        host, port = self._address(connection)
        return VolumeSource(
            path=str(need(connection, "export")),
            type="network",
            network=NetworkSource("nbd", hosts=((host, str(port)),)),
        )

    def extend(self, connection: Connection, size_bytes: int) -> int:
        """The size that the server tells."""
        host, port = self._address(connection)
        url = f"nbd://{host}:{port}/{need(connection, 'export')}"
        command = ["qemu-img", "info", "--output=json", "-f", "raw", url]
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=ANSWER_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise VolumeExtendFailed(connection.volume_id, f"{url}: {error}") from None
        return int(json.loads(done.stdout)["virtual-size"])

    def _address(self, connection: Connection) -> tuple[str, int]:
        return str(need(connection, "host")), int(connection.data.get("port") or PORT)
