"""Steps that take over a server from a host that failed.

The record names the other host until the last step but one: whatever fails before, the server is
that host's. What is on shared storage is never removed, and never made a second time.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from nova_lite.errors import (
    GuestExists,
    HypervisorError,
    InvalidSharedStorage,
    NovaLiteError,
    TargetStateUnsupported,
    VolumeAttachmentNotFound,
)
from nova_lite.inventory.claims import Role
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import cut_moves, evacuations, guest, moves, volumes
from nova_lite.services.claiming import claim_and_note
from nova_lite.services.disk_files import CONFIG_DRIVE, directory, remove_directory, remove_files
from nova_lite.services.groups import check_group_policy
from nova_lite.services.notes import EvacuationNotes, GuestNotes
from nova_lite.services.volumes import volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.disk.files import FetchImages, MakeConfigDrive, MakeDisks
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.network.binding import BindPorts
from nova_lite.steps.network.ports import PlugInterfaces
from nova_lite.steps.records.server import moved_here, tell_host
from nova_lite.steps.volume.attachments import detach
from nova_lite.steps.volume.moves import reserve
from nova_lite.wire import connection_info
from nova_lite.wire.decode import utcnow
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

TARGET_STATES = (None, VmState.STOPPED)


class ClaimEvacuated(Step):
    """Check the request and claim its resources on this host."""

    name = "claim_evacuated"

    def do(self) -> None:
        work, tools = self.work, self.tools
        target_state = work.arguments.get("target_state")
        if target_state not in TARGET_STATES:
            raise TargetStateUnsupported(str(target_state))
        guest.validate(work)
        noted = GuestNotes.of(work.notes).numa_topology
        claim_and_note(
            work,
            work.server,
            noted or work.instance.get("numa_topology"),
            limits=(work.arguments.get("limits") or {}).get("numa_topology"),
            placed=noted is not None,
        )
        tools.claims.release(work.uuid, Role.INCOMING)  # what an earlier process was to have
        check_group_policy(work)

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid)


class CheckArrival(Step):
    """Find out whether the disks are here, and refuse where a guest is, before anything is made.

    As nova-compute does, by the server's directory: the host that had it cannot be asked. What a
    move has left here that was cut off goes first.
    """

    name = "check_arrival"

    def do(self) -> None:
        work, where = self.work, directory(self.work)
        if EvacuationNotes.of(work.notes).kept is not None:
            return  # what is here since then is ours
        if self.tools.hypervisor.defined(work.uuid):
            raise GuestExists(work.uuid, self.tools.host)
        told = work.arguments.get("on_shared_storage")
        overtaken = cut_moves.make_way(work, told_shared=bool(told))
        there = os.access(where, os.W_OK)
        kept = there or self.tools.disks.shared
        if told is not None and bool(told) != kept:
            raise InvalidSharedStorage(
                f"Invalid state of instance files on shared storage: the request says that they "
                f"are{'' if told else ' not'} shared, and host {self.tools.host} finds "
                f"{'them' if kept else 'none'} in {where}"
            )
        LOG.info("Server %s is taken over %s", work.uuid,
                 "with its disks" if kept else "without its disks")  # fmt: skip
        work.note(kept=kept, directory_kept=there, overtaken=overtaken)


class RecordArrival(Step):
    """Save where the server is to go, and what it will have there.

    The save of the server is a compare-and-swap: one that was deleted, or that somebody has given
    up, is not changed.
    """

    name = "record_arrival"

    def done(self) -> bool:
        """Whether it is further than this."""
        self.work.reload()
        later = (TaskState.REBUILD_BLOCK_DEVICE_MAPPING, TaskState.REBUILD_SPAWNING)
        return self.work.instance.get("task_state") in later

    def do(self) -> None:
        work, tools = self.work, self.tools
        migration = evacuations.migration(work)
        fields: dict[str, Any] = {}
        if migration is not None:
            moves.record_target(work, migration)
            # nova-api sends events of ports to both hosts of a move that is recorded here.
            fields["migration_context"] = moves.context_of(work, migration)
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.REBUILDING],
            task_state=TaskState.REBUILDING,
            **fields,
        )


class FetchMissingImages(FetchImages):
    """Fetch the images, unless the disks are here."""

    name = "fetch_missing_images"

    def do(self) -> None:
        if not has_disks(self.work):
            super().do()


class ShutOutOthers(Step):
    """Let the host that had the server write to its disks no more, where the storage can do that.

    It was told to be down, which may be wrong. Nothing of this host has the disks open yet.
    """

    name = "shut_out_others"

    def do(self) -> None:
        if EvacuationNotes.of(self.work.notes).kept:
            self.tools.disks.shut_out(directory(self.work))


class MakeMissingDisks(MakeDisks):
    """Make the disks from the image, unless they are here; the undo removes only what it made."""

    def do(self) -> None:
        if has_disks(self.work):
            self.make_directory()
        else:
            super().do()

    def undo(self) -> None:
        notes = EvacuationNotes.of(self.work.notes)
        if notes.kept is False:
            remove_files(self.work)
        elif notes.kept and not notes.directory_kept:
            remove_directory(self.work)


class MakeMissingConfigDrive(MakeConfigDrive):
    """Make the config drive, unless it is here; the undo leaves that of shared storage alone."""

    def undo(self) -> None:
        if EvacuationNotes.of(self.work.notes).kept is False:
            super().undo()


class OnlyOurs(Step):
    """Mixed into a step: nothing is undone where this host had something of the server before, and
    the evacuation was refused because of that."""

    def undo(self) -> None:
        if EvacuationNotes.of(self.work.notes).kept is not None:
            super().undo()


class PlugArrived(OnlyOurs, PlugInterfaces):
    """Plug the interfaces, and note the ports that are not active yet."""

    name = "plug_arrived"


class DefineArrived(OnlyOurs, DefineGuest):
    """Define the guest in the hypervisor."""


class StartArrived(OnlyOurs, StartGuest):
    """Start the guest, paused while a port is not wired up yet."""


class TakePorts(BindPorts):
    """Bind the ports to this host; the undo gives them back to the host that had the server."""

    def undo(self) -> None:
        work, before = self.work, evacuations.source(self.work)
        if before is None:
            super().undo()
            return
        try:
            work.tools.ports.hand_back(work.context, work.server, work.tools.host, before)
        except NovaLiteError as error:
            # What is down there cannot serve them; they are bound again when it is asked to.
            LOG.warning("The ports of server %s cannot be bound to host %s again: %s",
                        work.uuid, before, error)  # fmt: skip


class TakeVolumes(Step):
    """Attach the volumes here by new attachments, and delete those of the host that had the server.

    Deleting an attachment has Cinder end the export to that host. A new one is made first, so that
    no other server can get the volume in between. The undo leaves the volumes reserved.
    """

    name = "take_volumes"
    exclusive = True

    def do(self) -> None:
        work = self.work
        old = self._source_attachments()
        for mapping in volume_mappings(work):
            before = old.get(str(mapping["uuid"]))
            if before is not None and mapping.get("attachment_id") == before:
                self._shut_out(mapping)
                self._replace(mapping, before)
            if before is not None:
                self._forget(before)
            volumes.ensure_attached(work, mapping)

    def _source_attachments(self) -> dict[str, str]:
        """Mapping uuid -> attachment of the other host; noted before the first is replaced."""
        noted = EvacuationNotes.of(self.work.notes).source_attachments
        if noted is None:
            noted = {
                str(mapping["uuid"]): str(mapping["attachment_id"])
                for mapping in volume_mappings(self.work)
                if mapping.get("attachment_id")
            }
            if noted:
                self.work.note(source_attachments=noted)
        return dict(noted)

    def _shut_out(self, mapping: WireObject) -> None:
        connection = connection_info.load(
            mapping.get("connection_info"), mapping.get("volume_id")
        )
        multiattach = connection is not None and connection.multiattach
        if connection is not None and not multiattach:
            self.tools.volumes.of(connection).shut_out(connection)

    def _replace(self, mapping: WireObject, before: str) -> None:
        """Give a mapping an attachment without a connector, as a server has that is on no host."""
        work, cinder, volume_id = self.work, self.tools.cinder, str(mapping["volume_id"])
        found = cinder.attachments(work.context, server_uuid=work.uuid, volume_id=volume_id)
        # An earlier attempt may not have come to record it.
        spare = sorted(str(row["id"]) for row in found if row["status"] == "reserved"
                       and row["id"] != before)  # fmt: skip
        made = spare or [cinder.create_attachment(work.context, volume_id, work.uuid)["id"]]
        own = EvacuationNotes.of(work.notes).own_attachments or {}
        work.note(own_attachments={**own, str(mapping["uuid"]): str(made[0])})
        self.tools.block_devices.save(
            work.context, mapping, attachment_id=str(made[0]), connection_info=None
        )

    def _forget(self, attachment: str) -> None:
        try:
            self.tools.cinder.delete_attachment(self.work.context, attachment)
        except VolumeAttachmentNotFound:
            pass

    def undo(self) -> None:
        work = self.work
        own = EvacuationNotes.of(work.notes).own_attachments or {}
        if self.tools.hypervisor.defined(work.uuid):
            raise HypervisorError(f"the guest of server {work.uuid} is left; it keeps its volumes")
        release = reserve if moves.is_wanted(work) else detach
        for mapping in volume_mappings(work):
            made = own.get(str(mapping["uuid"]))
            if made is None:
                continue
            if mapping.get("attachment_id") == made:
                release(work, mapping)
            else:  # it was not recorded, or a third host has the server by now
                self._forget(made)


class RecordEvacuated(Step):
    """Save this host as the server's host, its vm_state, and no task state: in one save, which is a
    compare-and-swap.

    :param vm_state: ACTIVE or STOPPED
    """

    name = "record_evacuated"

    def __init__(self, work: Work, vm_state: VmState) -> None:
        super().__init__(work)
        self._vm_state = vm_state

    def done(self) -> bool:
        self.work.reload()
        if self.work.here:
            self._tell_host()
        return self.work.here

    def do(self) -> None:
        work, tools = self.work, self.tools
        system_metadata = dict(work.instance.get("system_metadata", {}))
        system_metadata.update(GuestNotes.of(work.notes).registered or {})
        system_metadata.pop(moves.OLD_VM_STATE, None)  # of a move that this has overtaken
        runs = self._vm_state == VmState.ACTIVE
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.REBUILD_SPAWNING],
            vm_state=self._vm_state,
            task_state=None,
            power_state=int(PowerState.RUNNING if runs else PowerState.SHUTDOWN),
            launched_at=utcnow(),
            progress=0,
            config_drive="True" if guest.has_config_drive(work) else "",
            system_metadata=system_metadata,
            **moves.forgotten(work),
            **moved_here(work),
        )
        self._tell_host()

    def _tell_host(self) -> None:
        tell_host(self.work, self._vm_state)


class EndEvacuation(Step):
    """Record that the migration is done: its source may remove what is left of the server there.
    Moves that it has overtaken are over."""

    name = "end_evacuation"

    def do(self) -> None:
        work, migration = self.work, evacuations.migration(self.work)
        self.tools.claims.release(work.uuid, Role.INCOMING)
        for uuid in EvacuationNotes.of(work.notes).overtaken:
            record = self.tools.migrations.find(work.context, uuid)
            if record is not None and cut_moves.is_cut_off(record):
                cut_moves.end(work, record)
                moves.release_claim(work, record)
        if migration is not None:
            self.tools.migrations.save(work.context, migration, status="done")


def has_disks(work: Work) -> bool:
    """Whether nothing has to be made for the server: its disks are on storage that is shared.

    Where the record of shared storage is right but a disk is missing, it is made from the image.
    """
    if not EvacuationNotes.of(work.notes).kept:
        return False
    where, names = directory(work), [disk.name for disk in guest.disk_plan(work).local]
    missing = [
        name
        for name in names
        if name and name != CONFIG_DRIVE and not work.tools.disks.exists(where, name)
    ]
    if missing:
        LOG.warning("Server %s has storage that is shared, but no %s there", work.uuid,
                    ", ".join(missing))  # fmt: skip
    return not missing
