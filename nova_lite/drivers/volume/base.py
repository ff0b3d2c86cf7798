"""The volume contract: bring a volume of Cinder to this host, and say what a guest's disk needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from nova_lite.model.volume import Connection, VolumeSource


class VolumeDriver(ABC):
    """Volumes of one kind, Cinder's ``driver_volume_type``; built with the agent's options.

    Nothing that a driver needs later may live in its memory alone: the agent can be killed between
    any two calls, and another one goes on with the connection as it was kept. Every call may be
    repeated. ``connection.data`` may hold secrets and goes into no log and no message.
    """

    @abstractmethod
    def connect(self, connection: Connection, server_uuid: str) -> Mapping[str, Any]:
        """Make the volume reachable from this host for a server.

        :returns: the connection's data as it is to be kept, for instance with ``device_path``
        :raises VolumeAttachFailed: says why, and what to do
        :raises InvalidVolume: the connection lacks what this kind of volume needs
        """

    @abstractmethod
    def disconnect(self, connection: Connection, server_uuid: str, force: bool = False) -> None:
        """Undo ``connect`` for a server; nothing to undo is success.

        What other servers or other volumes of this host use stays: targets, sessions, mounts. The
        connection may be one that was never connected, or that another agent has connected.

        :param force: the server goes for good: what this host has not written yet may be lost
        :raises VolumeDetachFailed: says why; the volume may still be in use here
        """

    def on_this_host(self, connection: Connection, server_uuid: str) -> Connection:
        """The connection that this host has made of a volume that another host has connected since.

        Hosts may reach one volume in different ways, so that the other one's connection would lead
        to another volume here. What is the same on all hosts need not be kept.
        """
        return connection

    def shut_out(self, connection: Connection) -> None:  # noqa: B027
        """Let no other host write to the volume any more, where the storage can tell hosts apart.

        Elsewhere it is Cinder that ends the export to the other host, when its attachment goes.
        """

    @abstractmethod
    def source(self, connection: Connection) -> VolumeSource:
        """What the guest's disk needs; looks at nothing but the (kept) connection.

        :raises InvalidVolume: the connection lacks what this kind of volume needs
        """

    @abstractmethod
    def extend(self, connection: Connection, size_bytes: int) -> int:
        """Let this host see that the volume has grown.

        :param size_bytes: the size Cinder says it has
        :returns: the size in bytes that the guest's disk can be given
        :raises VolumeExtendFailed: says why
        """


class Volumes(Protocol):
    """The volume drivers of this host."""

    def of(self, connection: Connection) -> VolumeDriver:
        """The driver of this kind of volume.

        :raises InvalidVolume: there is none; the message names those that are installed
        :raises InvalidConfiguration: it is installed, but cannot be imported
        """

    def guard(self, volume: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Hold off others that attach or detach a volume of the same storage target.

        Where a target serves several volumes, a login for one brings in all that it exports to this
        host just then; so exporting and connecting, or disconnecting and un-exporting, go together.

        :param volume: the volume as Cinder shows it; microversion 3.48 has ``service_uuid`` and
            ``shared_targets`` (from 3.69 on: null where it always matters)
        :raises TimeoutError: others did not finish in time
        """


class HostProperties(Protocol):
    """What Cinder must know of this host to let it have a volume."""

    def properties(self) -> Mapping[str, Any]:
        """os-brick's connector properties: platform, os_type, ip, host, multipath, initiator ...

        :raises HostConnectorFailed: they cannot be found; says why
        """
