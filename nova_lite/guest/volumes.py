"""The disks of a guest that are volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nova_lite.errors import InvalidBlockDevice, InvalidVolume
from nova_lite.guest.policy import HostPolicy
from nova_lite.model.domain import DiskSpec
from nova_lite.model.volume import ConnectedVolume, Connection, VolumeSource

if TYPE_CHECKING:
    from nova_lite.guest.disks import PlannedDisk

# Cinder's front-end QoS specs that a hypervisor can keep; a burst has a name of its own.
_LIMITS = tuple(
    f"{way}_{unit}_sec{burst}"
    for way in ("total", "read", "write")
    for unit in ("bytes", "iops")
    for burst in ("", "_max")
) + ("size_iops_sec",)


def volume_spec(
    disk: PlannedDisk, volume: ConnectedVolume, policy: HostPolicy, unit: int | None = None
) -> DiskSpec:
    """The disk of a guest that a connected volume becomes.

    :param unit: its place on the virtio-scsi controller, where places are numbered
    :raises InvalidVolume: Cinder's description of the volume says something unknown
    :raises InvalidBlockDevice: it is to be a lun, and is no SCSI device
    """
    connection, source = volume.connection, volume.source
    _check_kind(disk, source)
    shareable = connection.multiattach
    return DiskSpec(
        disk.target,
        disk.bus,
        source.path,
        format=source.format,
        kind=disk.kind,
        source_type=source.type,
        # Two guests see each other's writes only when no host keeps them back.
        cache="none" if shareable else policy.disk_cachemodes.get(source.type, source.cache),
        io=source.io,
        discard="unmap" if connection.discard else None,
        serial=connection.volume_id,
        readonly=connection.readonly or disk.kind == "cdrom",
        iotune=_limits(connection),
        alias=connection.volume_id,
        unit=unit,
        network=source.network,
        secret_uuid=volume.secret_uuid,
        shareable=shareable,
        logical_block_size=_bytes(connection, "logical_block_size"),
        physical_block_size=_bytes(connection, "physical_block_size"),
    )


def _check_kind(disk: PlannedDisk, source: VolumeSource) -> None:
    """A lun takes SCSI commands of the guest: only devices of the host, and iSCSI, understand them.

    Any other host would be refused by its hypervisor as well.
    """
    protocol = source.network.protocol if source.network else None
    if disk.kind == "lun" and source.type != "block" and protocol != "iscsi":
        raise InvalidBlockDevice(
            f"Block Device Mapping is Invalid: volume {disk.volume_id} cannot have the device type "
            f"lun, for its storage ({protocol or source.type}) takes no SCSI commands; use disk"
        )


def _limits(connection: Connection) -> dict[str, int]:
    return {
        name: _number(connection, f"qos_specs {name}", value)
        for name, value in connection.qos.items()
        if name in _LIMITS
    }


def _bytes(connection: Connection, name: str) -> int | None:
    data: Mapping[str, Any] = connection.data
    return _number(connection, name, data[name]) if data.get(name) else None


def _number(connection: Connection, what: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise InvalidVolume(
            f"Invalid volume: {what} of volume {connection.volume_id} is {value!r}, not a number"
        ) from None
