"""Volumes that os-brick makes block devices of this host: iSCSI, Fibre Channel, NVMe-oF ...

os-brick finds out by itself, from the connection and from what the kernel shows, what is connected;
so each call may come after any other, from another agent as well. It is loaded at the first volume.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.data import hide, native_io, need, secret, without_secrets
from nova_lite.drivers.volume.users import Users
from nova_lite.errors import (
    NovaLiteError,
    VolumeAttachFailed,
    VolumeDetachFailed,
    VolumeExtendFailed,
)
from nova_lite.model.volume import Connection, VolumeSource

LOG = logging.getLogger(__name__)

WAIT_S = 600.0  # for another server of this host that connects or disconnects the same volume


class BlockVolumes(VolumeDriver):
    """Block devices by way of one of os-brick's connectors.

    A volume that several servers of this host may use is disconnected with its last one.
    """

    protocol: str  # os-brick's name of the connector

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._users = Users(Path(conf.state_path) / "nova-lite" / "volumes")
        self._lock = threading.Lock()
        self._connector: Any = None

    def options(self) -> Mapping[str, Any]:
        """What os-brick's connector is made with."""
        return {}

    def io(self) -> str | None:
        """QEMU's way of doing I/O, None for its own choice."""
        return None

    def reminder(self, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What os-brick is told, to disconnect, of its own answer when the volume was connected."""
        return None

    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        volume_id = connection.volume_id
        with _reported(connection, VolumeAttachFailed), self._users.held(volume_id, WAIT_S):
            self._note(connection, connection.data, server_uuid)
            device = self._brick().connect_volume(dict(connection.data))
            kept = {**connection.data, "device_path": _text(device["path"])}
            if device.get("multipath_id"):
                kept["multipath_id"] = device["multipath_id"]
            self._note(connection, kept, server_uuid)
        return kept

    def _note(self, connection: Connection, data: Mapping[str, Any], server_uuid: str) -> None:
        """Keep how this host reaches the volume: another host may reach it in another way."""
        note = json.dumps(without_secrets(data))
        self._users.add(connection.volume_id, server_uuid, note)

    def on_this_host(self, connection: Connection, server_uuid: str) -> Connection:
        """What was kept when it was connected here; secrets, which are not, of the other host's."""
        try:
            kept = json.loads(self._users.note(connection.volume_id, server_uuid))
        except ValueError:
            return connection  # by an agent that keeps nothing
        if not isinstance(kept, dict):
            return connection
        secrets = {key: value for key, value in connection.data.items() if secret(key)}
        return replace(connection, data={**secrets, **kept})

    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        volume_id = connection.volume_id
        with _reported(connection, VolumeDetachFailed), self._users.held(volume_id, WAIT_S):
            if not (connection.multiattach and self._users.others(volume_id, server_uuid)):
                self._disconnect(connection, force)
            self._users.remove(volume_id, server_uuid)

    def source(self, connection: Connection) -> VolumeSource:
        return VolumeSource(str(need(connection, "device_path")), type="block", io=self.io())

    def extend(self, connection: Connection, size_bytes: int) -> int:
        with _reported(connection, VolumeExtendFailed):
            return int(self._brick().extend_volume(dict(connection.data)) or size_bytes)

    def _disconnect(self, connection: Connection, force: bool) -> None:
        brick, data = self._brick(), dict(connection.data)
        from os_brick.exception import VolumeDeviceNotFound

        try:
            brick.disconnect_volume(data, self.reminder(data), force=force)
        except VolumeDeviceNotFound:
            LOG.info("Volume %s was not connected to this host", connection.volume_id)

    def _brick(self) -> Any:
        """os-brick's connector, made once."""
        with self._lock:
            if self._connector is None:
                from nova_lite.drivers.volume import os_brick_setup

                os_brick_setup.initialize(self._conf)
                from os_brick.initiator import connector

                self._connector = connector.InitiatorConnector.factory(
                    self.protocol, os_brick_setup.ROOT_HELPER, **self.options()
                )
            return self._connector


class FibreChannelVolumes(BlockVolumes):
    """Fibre Channel."""

    protocol = "FIBRE_CHANNEL"

    def options(self) -> Mapping[str, Any]:
        return _multipath_options(self._conf)

    def io(self) -> str | None:
        return native_io(self._conf)

    def reminder(self, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return data  # the multipath_id in it


class IscsiVolumes(BlockVolumes):
    """iSCSI, by the initiator of the host."""

    protocol = "ISCSI"

    def options(self) -> Mapping[str, Any]:
        transport = self._conf.libvirt.iscsi_iface or "default"
        return {**_multipath_options(self._conf), "transport": transport}

    def io(self) -> str | None:
        return native_io(self._conf)


class IserVolumes(IscsiVolumes):
    """iSCSI over RDMA."""

    protocol = "ISER"

    def options(self) -> Mapping[str, Any]:
        libvirt = self._conf.libvirt
        return {
            "use_multipath": libvirt.iser_use_multipath,
            "enforce_multipath": libvirt.volume_enforce_multipath,
            "device_scan_attempts": libvirt.num_iser_scan_tries,
            "transport": "iser",
        }


class NvmeOfVolumes(BlockVolumes):
    """NVMe over Fabrics."""

    protocol = "NVMEOF"

    def options(self) -> Mapping[str, Any]:
        tries = self._conf.libvirt.num_nvme_discover_tries
        return {**_multipath_options(self._conf), "device_scan_attempts": tries}


class LightOsVolumes(BlockVolumes):
    """NVMe/TCP of Lightbits."""

    protocol = "LIGHTOS"

    def options(self) -> Mapping[str, Any]:
        return {"device_scan_attempts": self._conf.libvirt.num_nvme_discover_tries}


class ScaleIoVolumes(BlockVolumes):
    """Dell PowerFlex, by its own client on the host."""

    protocol = "SCALEIO"

    def options(self) -> Mapping[str, Any]:
        return {"device_scan_attempts": self._conf.libvirt.num_volume_scan_tries}

    def io(self) -> str | None:
        return "native"


class StorPoolVolumes(BlockVolumes):
    """StorPool, by its own client on the host."""

    protocol = "STORPOOL"

    def io(self) -> str | None:
        return "native"


def _multipath_options(conf: Any) -> dict[str, Any]:
    """What os-brick is told by every protocol that may reach one device by several paths."""
    return {
        "use_multipath": conf.libvirt.volume_use_multipath,
        "enforce_multipath": conf.libvirt.volume_enforce_multipath,
        "device_scan_attempts": conf.libvirt.num_volume_scan_tries,
    }


def _text(path: str | bytes) -> str:
    return path.decode() if isinstance(path, bytes) else str(path)


@contextmanager
def _reported(
    connection: Connection, failure: Callable[[str, str], NovaLiteError]
) -> Iterator[None]:
    """Let whatever goes wrong in os-brick out as ``failure``, without the connection's secrets."""
    try:
        yield
    except NovaLiteError:
        raise
    except Exception as error:  # a dozen programs and as many families of exceptions
        reason = f"{connection.type}: {hide(_said(error), connection)}"
        # The cause would show what was hidden.
        raise failure(connection.volume_id, reason) from None


def _said(error: Exception) -> str:
    """What happened; of a program that failed, not its command but what it printed."""
    stderr = str(getattr(error, "stderr", "") or "").strip()
    if stderr:
        return f"exit status {getattr(error, 'exit_code', '?')}: {stderr[-500:]}"
    return str(getattr(error, "description", None) or error) or type(error).__name__
