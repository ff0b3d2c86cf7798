"""Volumes on Ceph RBD: QEMU talks to Ceph itself, nothing is connected on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import need
from nova_lite.model.volume import Connection, NetworkSource, VolumeSource


class RbdVolumes(VolumeDriver):
    """RBD images; Ceph's key is a secret that the administrator has given to libvirt."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        """Nothing is to be done; what is missing in the connection is found now, not later."""
        self.source(connection)
        # Some back ends hand out Ceph's key as well: it is of no use here, and not kept.
        return {key: value for key, value in connection.data.items() if key != "keyring"}

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        """Nothing is to be done."""

    def source(self, connection: Connection) -> VolumeSource:
        data = connection.data
        hosts, ports = data.get("hosts") or (), data.get("ports") or ()
        user, secret_uuid = self._authentication(data)
        return VolumeSource(
            path=str(need(connection, "name")),
            type="network",
            network=NetworkSource(
                protocol="rbd",
                hosts=tuple(
                    (str(host), str(port)) for host, port in zip(hosts, ports, strict=False)
                ),
                user=user,
                secret_type="ceph" if secret_uuid else None,
                secret_uuid=secret_uuid,
            ),
        )

    def extend(self, connection: Connection, size_bytes: int) -> int:
        """QEMU sees the new size by itself."""
        return size_bytes

    def _authentication(self, data: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """User and libvirt secret: Cinder's, and nova.conf's where Cinder names no secret.

        The two belong together: a secret of nova.conf goes with nova.conf's user.
        """
        if data.get("auth_enabled") and data.get("secret_uuid"):
            return data.get("auth_username"), str(data["secret_uuid"])
        libvirt = self._conf.libvirt
        if data.get("auth_enabled") or libvirt.rbd_secret_uuid:
            return libvirt.rbd_user, libvirt.rbd_secret_uuid
        return None, None
