"""Steps that attach a volume to an existing server, and detach it.

Attaching: update the Cinder attachment with this host's connector, connect the volume, save its
connection_info in the block device mapping, attach the disk to the guest, and complete the
attachment. Detaching does the reverse. An interrupted operation reads from Cinder, the mapping and
the guest how far it came: every step can be repeated.
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
from nova_lite.services.notes import VolumeNotes
from nova_lite.services.volumes import attachment_of
from nova_lite.services.work import Work
from nova_lite.steps.base import MappingStep, Step
from nova_lite.wire import connection_info
from nova_lite.wire.decode import IMAGE_KEY
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class ReserveDevice(Step):
    """Create the block device mapping of a volume to be attached, with a free device name."""

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
            # The guest chooses its device names itself; nova-compute ignores the wish as well.
            LOG.info("The device name %s wished for server %s is not used",
                     arguments["device"], work.uuid)  # fmt: skip
        bus, target = self._place(kind or "disk")
        if VolumeNotes.of(work.notes).mapping is None:
            work.note(mapping=str(uuid.uuid4()))
        self.mapping = self.tools.block_devices.create(
            work.context,
            work.uuid,
            uuid=VolumeNotes.of(work.notes).mapping,
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
        """The mapping that this operation has created."""
        mine = VolumeNotes.of(self.work.notes).mapping
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
        """The bus chosen at the first boot, which is kept among the server's image properties."""
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
    """Connect the volume to this host, and save its connection_info in the mapping.

    The undo detaches the disk from the guest first: no other host may get a volume that a guest
    still writes to.
    """

    name = "connect_volume"

    def do(self) -> None:
        if self.work.resumed and volumes.is_attached(self.work, self._mapping):
            volumes.connect(self.work, self._mapping)
        else:
            volumes.attach(self.work, self._mapping)

    def undo(self) -> None:
        self.tools.hypervisor.detach_disk(self.work.uuid, str(self._mapping["volume_id"]))
        detach(self.work, self._mapping)


class PlugDisk(MappingStep):
    """Attach the disk to the guest, now and in its definition; without a guest, at its next start.

    The undo of ConnectVolume detaches it.
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
    """Complete the Cinder attachment: the volume is in use."""

    name = "complete_attachment"

    def do(self) -> None:
        self.tools.cinder.complete_attachment(self.work.context, attachment_of(self._mapping))


class UnplugDisk(MappingStep):
    """Detach the disk from the guest, now and in its definition."""

    name = "unplug_disk"

    def do(self) -> None:
        self.tools.hypervisor.detach_disk(self.work.uuid, str(self._mapping["volume_id"]))


class ReleaseVolume(Step):
    """Disconnect the volume from this host and delete its Cinder attachment.

    :param here: whether the server is on this host; otherwise only the attachment is deleted
    """

    name = "release_volume"

    def __init__(self, work: Work, mapping: WireObject, *, here: bool) -> None:
        super().__init__(work)
        self._mapping, self._here = mapping, here

    def do(self) -> None:
        if self._here:
            detach(self.work, self._mapping)
        else:
            attachment_id = attachment_of(self._mapping)
            self.tools.cinder.delete_attachment(self.work.context, attachment_id)


class ForgetMapping(MappingStep):
    """Delete the block device mapping."""

    name = "forget_mapping"

    def do(self) -> None:
        self.tools.block_devices.destroy(self.work.context, self._mapping)


def disk_of(work: Work, mapping: WireObject) -> DiskSpec:
    """The guest's disk for a connected volume."""
    connection = volumes.connection_of(mapping)
    target = str(naming.strip(mapping["device_name"]))
    bus = mapping.get("disk_bus") or naming.bus_of_name(target)
    kind = mapping.get("device_type") or "disk"
    disk = PlannedDisk(None, f"/dev/{target}", bus, kind, volume_id=connection.volume_id)
    source = work.tools.volumes.of(connection).source(connection)
    secret = volume_keys.secret_uuid(work, connection)
    return volume_spec(disk, ConnectedVolume(connection, source, secret), work.tools.policy)


def detach(work: Work, mapping: WireObject) -> None:
    """Disconnect a volume from this host, then delete its Cinder attachment; may be repeated."""
    with disconnected(work, mapping):
        work.tools.cinder.delete_attachment(work.context, attachment_of(mapping))


@contextmanager
def disconnected(work: Work, mapping: WireObject) -> Iterator[dict[str, Any]]:
    """Disconnect a volume from this host; calls of Cinder about that belong inside the block.

    Yields Cinder's description of the volume: empty where it was deleted by force, in which case
    this host is disconnected all the same.
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
    """The mapping's connection_info, or Cinder's if this host was killed before saving it."""
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
