"""Volumes on Ceph RBD: QEMU talks to Ceph itself, nothing is connected on the host."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from nova_lite.drivers.disk.ceph import Ceph
from nova_lite.drivers.disk.rbd_images import RbdImages
from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import need
from nova_lite.errors import DiskError, VolumeAttachFailed
from nova_lite.model.volume import Connection, NetworkSource, VolumeSource

LOG = logging.getLogger(__name__)

PORT = 6789  # of a monitor


class RbdVolumes(VolumeDriver):
    """RBD images; Ceph's key is a secret that the administrator has given to libvirt."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        """Nothing is to be done; what is missing is found now, not later.

        While QEMU waits for a cluster that is away it does nothing else: its guest stands still.
        """
        network = self.source(connection).network
        assert network is not None
        _require_monitor(connection, network.hosts, self._conf.libvirt.rbd_connect_timeout)
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

    def shut_out(self, connection: Connection) -> None:
        """Blocklist who has the image open, with the keyring of this host.

        Where it has none for the volume's user that is only logged: the guest's key is libvirt's.
        """
        options, image = self._conf.libvirt, str(need(connection, "name"))
        user = connection.data.get("auth_username") or options.rbd_user
        cluster = Ceph(options.images_rbd_ceph_conf, user, options.rbd_connect_timeout)
        try:
            openers = RbdImages(cluster).shut_out(image)
        except DiskError as error:
            LOG.warning("Whether another host has volume %s open is not known: %s. If it is alive, "
                        "both write to it", connection.volume_id, error)  # fmt: skip
            return
        for address in openers:
            LOG.warning("Volume %s was open at %s, which can write to it no more",
                        connection.volume_id, address)  # fmt: skip

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


def _require_monitor(
    connection: Connection, hosts: Sequence[tuple[str, str | None]], timeout_s: float
) -> None:
    """Check that one of the monitors can be reached; raises VolumeAttachFailed."""
    said = []
    for host, port in hosts:
        address = host.strip("[]")
        try:
            socket.create_connection((address, int(port or PORT)), timeout=timeout_s).close()
            return
        except (OSError, ValueError) as error:
            said.append(f"{host}:{port}: {error}")
    if said:
        reason = f"no monitor of its Ceph cluster can be reached from this host ({'; '.join(said)})"
        raise VolumeAttachFailed(connection.volume_id, reason)
