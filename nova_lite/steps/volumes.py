"""What every verb needs of a server's volumes: the side of them that is on this host.

How a volume is reached stands in its block device mapping, where the host that attached it has put
it; nothing of it is noted in the journal.
"""

from __future__ import annotations

from nova_lite.errors import InvalidVolume
from nova_lite.model.volume import Connection
from nova_lite.steps import guest, volume_keys
from nova_lite.steps.base import Step, Work
from nova_lite.wire import connection_info
from nova_lite.wire.objects import WireObject


def volume_mappings(work: Work) -> list[WireObject]:
    """The block device mappings of the server's volumes."""
    return [
        mapping
        for mapping in guest.mappings(work)
        if mapping["destination_type"] == "volume" and not mapping.get("no_device")
    ]


def connection_of(mapping: WireObject) -> Connection:
    """How the volume of a mapping is reached.

    :raises InvalidVolume: nobody has connected it yet
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is None:
        raise InvalidVolume(
            f"Invalid volume: volume {mapping.get('volume_id')} was never connected to a host; "
            "detach it and attach it again"
        )
    return connection


def connect(work: Work, mapping: WireObject) -> None:
    """Bring a volume within this host's reach, and keep how it is reached if that is news."""
    connection = connection_of(mapping)
    data = dict(work.tools.volumes.of(connection).connect(connection, work.uuid))
    if data != dict(connection.data):
        text = connection_info.dump(connection_info.with_data(connection, data))
        work.tools.block_devices.save(work.context, mapping, connection_info=text)
    volume_keys.unlock(work, connection)


def disconnect(work: Work, mapping: WireObject, *, force: bool = False) -> None:
    """Take a volume out of this host's reach; one that never was in it is as it should be.

    :param force: the server goes for good: what this host has not written yet may be lost
    """
    connection = connection_info.load(mapping.get("connection_info"), mapping.get("volume_id"))
    if connection is not None:
        work.tools.volumes.of(connection).disconnect(connection, work.uuid, force)
        volume_keys.forget(work, connection)


class ConnectVolumes(Step):
    """Have all volumes of the server within reach before its guest is started."""

    name = "connect_volumes"
    deadline = 600.0

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            connect(self.work, mapping)


class DisconnectVolumes(Step):
    """Let go of all volumes of a server whose guest is off."""

    name = "disconnect_volumes"
    deadline = 600.0

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            disconnect(self.work, mapping)
