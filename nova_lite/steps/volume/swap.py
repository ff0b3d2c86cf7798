"""Steps that copy a running guest's disk to another volume and switch the guest to it.

Cinder migrates a volume in use that way: it creates a new volume, this host copies the data, and
the old volume's record gets the new one's storage and attachment. So the volume id, which is the
serial of the guest's disk, stays the same; the host connects the new storage under that id.

Each step reads the new volume's connection_info from its attachment in Cinder, as it is stored
nowhere else until the block device mapping has it. The hypervisor reports which volume the disk
uses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nova_lite.errors import (
    ControlPlaneUnavailable,
    DomainNotFound,
    HypervisorError,
    NovaLiteError,
    SwapEncryptedUnsupported,
    SwapRefused,
    VolumeNotAttached,
    VolumeRebaseFailed,
)
from nova_lite.guest.disks import PlannedDisk
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.domain import DiskSpec
from nova_lite.model.volume import ConnectedVolume, Connection
from nova_lite.services import volumes
from nova_lite.services.notes import VolumeNotes
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.wire import connection_info
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Seconds that Cinder may take to end a migration that it was asked to end, and between two looks.
COMPLETION_PATIENCE, COMPLETION_POLL = 60.0, 2.0


def old_id(work: Work) -> str:
    """The volume that the guest has, and whose id it keeps."""
    return str(work.arguments["old_volume_id"])


def new_id(work: Work) -> str:
    """The volume whose storage it gets."""
    return str(work.arguments["new_volume_id"])


def attachment_id(work: Work) -> str:
    """The new volume's attachment, which nova-api has reserved."""
    return str(work.arguments["new_attachment_id"])


def mapping_of(work: Work) -> WireObject:
    """The server's block device mapping of the volume.

    :raises VolumeNotAttached: there is none
    """
    found = work.tools.block_devices.by_volume(work.context, work.uuid, old_id(work))
    if found is None:
        raise VolumeNotAttached(
            f"BDM for volume {old_id(work)} attached to server {work.uuid} not found."
        )
    return found


def tell_cinder(what: str, tell: Callable[[], Any]) -> None:
    """Call Cinder past the point of no return: a refusal is only logged."""
    try:
        tell()
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.error("Cinder could not be told to %s: %s", what, error)


class ConnectNewVolume(Step):
    """Update the new volume's attachment with this host's connector, and connect it."""

    name = "connect_new_volume"

    def done(self) -> bool:
        return has_moved(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        old = tools.cinder.volume(work.context, old_id(work))
        if old.get("migration_status") != "migrating":
            # The guest would go on with a disk that has another volume's serial.
            raise SwapRefused(
                f"Volume {old_id(work)} is not migrating: only Cinder may ask for a swap of "
                "volumes; retype or migrate the volume instead"
            )
        work.note(migrating=True)
        mapping = mapping_of(work)
        new = tools.cinder.volume(work.context, new_id(work))
        with tools.volumes.guard(new):
            attachment = tools.cinder.update_attachment(
                work.context,
                attachment_id(work),
                tools.connector.properties(),
                mapping.get("device_name"),
            )
            connection = connection_info.from_cinder(attachment, old_id(work), False)
            if connection.encrypted or volumes.connection_of(mapping).encrypted:
                raise SwapEncryptedUnsupported(
                    "Swap volume is not supported for encrypted volumes while a server has them"
                )
            tools.volumes.of(connection).connect(connection, work.uuid)

    def undo(self) -> None:
        work, tools = self.work, self.tools
        attachment = _attachment(work)
        if attachment is None:
            return
        connection = connection_info.from_cinder(attachment, old_id(work), False)
        tools.volumes.of(connection).disconnect(connection, work.uuid)


class CopyVolume(Step):
    """Copy the disk to the new volume until both are the same; the guest writes to both."""

    name = "copy_volume"

    def done(self) -> bool:
        return has_moved(self.work)

    def do(self) -> None:
        work, hypervisor = self.work, self.tools.hypervisor
        _, disk = destination(work)
        try:
            hypervisor.begin_move(work.uuid, old_id(work), disk)
            while not hypervisor.move_ready(work.uuid, old_id(work)):
                if self.tools.clock.wait(work.cancelled, self.tools.pace.swap_poll):
                    raise Interrupted
        except HypervisorError as error:
            raise VolumeRebaseFailed(f"Volume rebase failed: {error.message}") from None

    def undo(self) -> None:
        self.tools.hypervisor.drop_move(self.work.uuid, old_id(self.work))


class SwitchDisk(Step):
    """Switch the guest to the new volume: the point of no return."""

    name = "switch_disk"

    def done(self) -> bool:
        return has_moved(self.work)

    def do(self) -> None:
        work = self.work
        _, disk = destination(work)
        try:
            self.tools.hypervisor.finish_move(work.uuid, old_id(work), disk)
        except HypervisorError as error:
            raise VolumeRebaseFailed(f"Volume rebase failed: {error.message}") from None


class RecordNewVolume(Step):
    """Disconnect the old volume, and save the new one's connection_info.

    Whatever Cinder answers, the block device mapping must describe the storage that the guest uses.
    """

    name = "record_new_volume"

    def do(self) -> None:
        work, tools = self.work, self.tools
        connection, _ = destination(work)
        mapping = mapping_of(work)
        if mapping.get("attachment_id") != attachment_id(work):
            work.note(old_attachment=mapping.get("attachment_id"))
        with tools.volumes.guard(tools.cinder.volume(work.context, old_id(work))):
            if mapping.get("attachment_id") != attachment_id(work):
                self._disconnect(mapping)
                self._record(mapping, connection)
            tell_cinder(
                f"complete attachment {attachment_id(work)}",
                lambda: tools.cinder.complete_attachment(work.context, attachment_id(work)),
            )
            if old_attachment := VolumeNotes.of(work.notes).old_attachment:
                tell_cinder(
                    f"delete attachment {old_attachment}",
                    lambda: tools.cinder.delete_attachment(work.context, old_attachment),
                )

    def _disconnect(self, mapping: WireObject) -> None:
        try:
            volumes.disconnect(self.work, mapping)
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            LOG.error("Server %s has moved from volume %s, but this host cannot disconnect it: %s",
                      self.work.uuid, old_id(self.work), error)  # fmt: skip

    def _record(self, mapping: WireObject, connection: Connection) -> None:
        """Save the new storage in the mapping, under the old volume's id."""
        work, volume_id = self.work, old_id(self.work)
        kept = replace(
            connection,
            multiattach=volumes.connection_of(mapping).multiattach,
            data={**connection.data, "volume_id": volume_id},
        )
        # Again, as it may have gone with the old storage: where both are files of one export.
        data = self.tools.volumes.of(kept).connect(kept, work.uuid)
        self.tools.block_devices.save(
            work.context,
            mapping,
            connection_info=connection_info.dump(connection_info.with_data(kept, data)),
            attachment_id=attachment_id(work),
            source_type="volume",
            destination_type="volume",
            snapshot_id=None,
            volume_id=volume_id,
            no_device=None,
        )


class CompleteMigration(Step):
    """Have Cinder complete the migration (os-migrate_volume_completion)."""

    name = "complete_migration"

    def done(self) -> bool:
        """Whether the migration is completed; waits while Cinder is completing it."""
        work, clock = self.work, self.tools.clock
        deadline = clock.monotonic() + COMPLETION_PATIENCE
        while True:
            volume = self.tools.cinder.volume(work.context, old_id(work))
            if volume.get("migration_status") != "completing":
                return bool(volume.get("migration_status") == "success")
            if clock.monotonic() > deadline:
                LOG.error("Cinder does not complete the migration of volume %s",
                          old_id(work))  # fmt: skip
                return True
            clock.sleep(COMPLETION_POLL)

    def do(self) -> None:
        work = self.work
        self.tools.cinder.migrate_volume_completion(work.context, old_id(work), new_id(work))


def destination(work: Work) -> tuple[Connection, DiskSpec]:
    """The connection of the new volume, and the guest's disk for it."""
    tools = work.tools
    attachment = tools.cinder.attachment(work.context, attachment_id(work))
    new = connection_info.from_cinder(attachment, old_id(work), False)
    driver = tools.volumes.of(new)
    connection = connection_info.with_data(new, driver.connect(new, work.uuid))
    volume = ConnectedVolume(connection, driver.source(connection))
    # What is copied to is a source; name and bus are those that the guest's disk has.
    planned = PlannedDisk(None, "/dev/vdz", "virtio", volume_id=old_id(work))
    return connection, volume_spec(planned, volume, tools.policy)


def _attachment(work: Work) -> dict[str, Any] | None:
    """The new volume's attachment; None as long as it does not tell how this host reaches it."""
    found = work.tools.cinder.attachment(work.context, attachment_id(work))
    return found if (found.get("connection_info") or {}).get("driver_volume_type") else None


def has_moved(work: Work) -> bool:
    """Whether the guest uses the new volume: now or, when it is off, at its next start."""
    if work.past_return:
        return True
    if _attachment(work) is None:
        return False
    wanted = destination(work)[1]
    try:
        found = [d for d in work.tools.hypervisor.disks(work.uuid) if d.serial == old_id(work)]
    except DomainNotFound:
        return False
    now = [d for d in found if d.plugged] or found
    return any(d.source == wanted.source for d in now)
