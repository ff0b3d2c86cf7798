"""Steps of attaching a volume to a server that is there, and of detaching it.

Attaching: Cinder learns of the host, the host connects, the block device mapping keeps how; only
then the guest gets the disk, and last Cinder hears that the volume is in use. Detaching is the way
back. Whatever is cut off in between finds in Cinder, in the mapping and in the guest how far it
came: every step can be done again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nova_lite.errors import (
    DomainNotFound,
    InvalidBlockDevice,
    InvalidVolume,
    VolumeAttachmentNotFound,
    VolumeNotFound,
)
from nova_lite.guest import naming
from nova_lite.guest.disks import PlannedDisk
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.domain import DiskSpec
from nova_lite.model.volume import ConnectedVolume, Connection
from nova_lite.services import guest, volume_keys, volumes
from nova_lite.services.volumes import attachment_of
from nova_lite.services.work import Work
from nova_lite.steps.base import MappingStep, Step
from nova_lite.wire import connection_info
from nova_lite.wire.decode import IMAGE_KEY
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class ReserveDevice(Step):
    """Make the block device mapping of a volume to come, under a name that nothing has."""

    name = "reserve_device"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.mapping: WireObject | None = None

    def done(self) -> bool:
        self.mapping = self._made()
        return self.mapping is not None

    def do(self) -> None:
        work, arguments = self.work, self.work.arguments
        volume_id, kind = arguments["volume_id"], arguments.get("device_type")
        if any(mapping.get("volume_id") == volume_id for mapping in guest.mappings(work)):
            raise InvalidVolume(f"Invalid volume: volume {volume_id} already attached")
        if arguments.get("device"):
            # What a guest calls its disk is its own affair; stock agents do not heed it either.
            LOG.info("The device name %s wished for server %s is not used",
                     arguments["device"], work.uuid)  # fmt: skip
        bus, target = self._place(kind or "disk")
        if "mapping" not in work.notes:
            work.note(mapping=str(uuid.uuid4()))
        self.mapping = self.tools.block_devices.create(
            work.context,
            work.uuid,
            uuid=work.notes["mapping"],
            source_type="volume",
            destination_type="volume",
            boot_index=None,
            volume_id=volume_id,
            device_name=f"/dev/{target}",
            guest_format=None,
            disk_bus=bus,
            device_type=kind,
            tag=arguments.get("tag"),
        )

    def undo(self) -> None:
        mapping = self._made()
        if mapping is not None:
            self.tools.block_devices.destroy(self.work.context, mapping)

    def _made(self) -> WireObject | None:
        """The mapping that this operation has made."""
        mine = self.work.notes.get("mapping")
        found = self.tools.block_devices.of_server(self.work.context, self.work.uuid)
        return next((m for m in found if mine and m.get("uuid") == mine), None)

    def _place(self, kind: str) -> tuple[str, str]:
        """Bus and name of the new disk.

        :raises TooManyDiskDevices: the guest cannot have more
        """
        work, policy = self.work, self.tools.policy
        taken = {naming.strip(mapping.get("device_name")) for mapping in guest.mappings(work)}
        bus = self.work.arguments.get("disk_bus") or self._usual_bus(kind)
        try:
            taken |= {disk.target for disk in self.tools.hypervisor.disks(work.uuid)}
        except DomainNotFound:
            taken |= {disk.target for disk in self._plan().disks}
        names = {name for name in taken if name}
        if not naming.usable_bus(bus):
            raise InvalidBlockDevice(f"disk bus {bus!r} is not possible here")
        return bus, naming.next_name(
            bus, names, prefix=policy.disk_prefix, limit=policy.max_disks
        )

    def _usual_bus(self, kind: str) -> str:
        """As the server has it since its first boot; that is kept with what its image said."""
        kept = self.work.instance.get("system_metadata", {}).get(f"{IMAGE_KEY}hw_{kind}_bus")
        if kept:
            return str(kept)
        plan = self._plan()
        return plan.cdrom_bus if kind == "cdrom" else plan.disk_bus

    def _plan(self) -> guest.DiskPlan:
        if "flavor" not in self.work.instance:
            self.work.reload()
        return guest.disk_plan(self.work)


class ConnectVolume(MappingStep):
    """Have the volume within this host's reach, and how it is reached in its mapping.

    Taking it back takes the disk from the guest first: nobody else may get a volume that a guest
    still writes to. Where that fails, the note ``kept`` says so.
    """

    name = "connect_volume"

    def do(self) -> None:
        volumes.attach(self.work, self._mapping)

    def undo(self) -> None:
        self.work.note(kept=True)  # for as long as this does not succeed
        work, tools, mapping = self.work, self.tools, self._mapping
        volume_id = str(mapping["volume_id"])
        tools.hypervisor.detach_disk(work.uuid, volume_id)
        if work.resumed:  # the request knows nothing of what was kept since
            mapping = tools.block_devices.by_volume(work.context, work.uuid, volume_id) or mapping
        release(work, mapping)
        work.note(kept=False)


class PlugDisk(MappingStep):
    """Give the guest the disk, for good; one that is defined anew at its next start gets it then.

    It is taken back together with the connection.
    """

    name = "plug_disk"

    def do(self) -> None:
        work = self.work
        try:
            self.tools.hypervisor.attach_disk(work.uuid, disk_of(work, self._mapping))
        except DomainNotFound:
            LOG.info("Server %s has no guest now; it starts with volume %s",
                     work.uuid, self._mapping["volume_id"])  # fmt: skip


class CompleteAttachment(MappingStep):
    """The volume is in use."""

    name = "complete_attachment"

    def do(self) -> None:
        self.tools.cinder.complete_attachment(self.work.context, attachment_of(self._mapping))


class UnplugDisk(MappingStep):
    """Take the disk from the guest, now and for its later starts."""

    name = "unplug_disk"

    def do(self) -> None:
        self.tools.hypervisor.detach_disk(self.work.uuid, str(self._mapping["volume_id"]))


class ReleaseVolume(Step):
    """Take the volume out of this host's reach and give it back to Cinder.

    :param here: whether the server is this host's; of another one's, only Cinder is told
    """

    name = "release_volume"

    def __init__(self, work: Work, mapping: WireObject, *, here: bool) -> None:
        super().__init__(work)
        self._mapping, self._here = mapping, here

    def do(self) -> None:
        if self._here:
            release(self.work, self._mapping)
        else:
            attachment_id = attachment_of(self._mapping)
            self.tools.cinder.delete_attachment(self.work.context, attachment_id)


class ForgetMapping(MappingStep):
    """The server does not have the volume any more."""

    name = "forget_mapping"

    def do(self) -> None:
        self.tools.block_devices.destroy(self.work.context, self._mapping)


def disk_of(work: Work, mapping: WireObject) -> DiskSpec:
    """The guest's disk that a connected volume becomes."""
    connection = volumes.connection_of(mapping)
    target = str(naming.strip(mapping["device_name"]))
    bus = mapping.get("disk_bus") or naming.bus_of_name(target)
    kind = mapping.get("device_type") or "disk"
    disk = PlannedDisk(None, f"/dev/{target}", bus, kind, volume_id=connection.volume_id)
    source = work.tools.volumes.of(connection).source(connection)
    secret = volume_keys.secret_uuid(work, connection)
    return volume_spec(disk, ConnectedVolume(connection, source, secret), work.tools.policy)


def release(work: Work, mapping: WireObject) -> None:
    """Disconnect a volume from this host, then delete its attachment; again is success."""
    with taken_off(work, mapping):
        work.tools.cinder.delete_attachment(work.context, attachment_of(mapping))


@contextmanager
def taken_off(work: Work, mapping: WireObject) -> Iterator[dict[str, Any]]:
    """Disconnect a volume from this host; what Cinder is to hear of that comes inside.

    Gives Cinder's description of the volume; nothing is in it where the volume was deleted by
    force: what is left of it here goes away all the same.
    """
    tools = work.tools
    connection = _connection_to_release(work, mapping)
    try:
        volume = tools.cinder.volume(work.context, str(mapping["volume_id"]))
    except VolumeNotFound:
        volume = {}
    with tools.volumes.guard(volume):
        if connection is not None:
            tools.volumes.of(connection).disconnect(connection, work.uuid)
            volume_keys.forget(work, connection)
        yield volume


def _connection_to_release(work: Work, mapping: WireObject) -> Connection | None:
    """As the mapping keeps it; a host that was killed before it could write that asks Cinder."""
    volume_id = str(mapping["volume_id"])
    kept = connection_info.load(mapping.get("connection_info"), volume_id)
    if kept is not None:
        return kept
    try:
        attachment = work.tools.cinder.attachment(work.context, attachment_of(mapping))
    except VolumeAttachmentNotFound:
        return None
    if not attachment.get("connection_info"):
        return None
    return connection_info.from_cinder(attachment, volume_id, multiattach=False)
