"""Steps that reserve a server's volumes when it leaves this host, and attach reserved ones.

A volume of a server without a host is reserved: it has an attachment without a connector, created
before the connected one is deleted, so that no other server can get the volume in between. An
interrupted step reads from Cinder how far it came.
"""

from __future__ import annotations

import logging
import math

from nova_lite.errors import (
    BuildAborted,
    CredentialsInvalid,
    HypervisorError,
    InvalidVolume,
    ServerNotFound,
    VolumeAttachmentNotFound,
    VolumeServiceUnavailable,
)
from nova_lite.model.states import TaskState
from nova_lite.services import guest
from nova_lite.services.abandoned import is_unfinished
from nova_lite.services.events import VOLUME_REIMAGED
from nova_lite.services.notes import RebuildNotes
from nova_lite.services.volumes import connect, disconnect, ensure_attached, volume_mappings
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.guest.rescue import forget_definition
from nova_lite.steps.volume.attachments import detach, disconnected
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

GIB = 1024**3


class ReserveVolumes(Step):
    """Disconnect the volumes of a server that leaves this host, and keep them reserved for it.

    :param for_host: another host is about to attach them; see ``reserve``
    """

    name = "reserve_volumes"

    def __init__(self, work: Work, *, for_host: bool = False) -> None:
        super().__init__(work)
        self._for_host = for_host

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if not is_unfinished(mapping):  # nova is still at work on it, or has left it
                reserve(self.work, mapping, for_host=self._for_host)


class AttachReservedVolumes(Step):
    """Attach the reserved volumes of a server that arrives on this host.

    The undo reserves them for the server again, or detaches them if it is being deleted.
    """

    name = "attach_reserved_volumes"
    exclusive = True

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if not mapping.get("device_name"):  # attached while the server had no host
                devices = guest.disk_plan(self.work).bdm_updates
                mapping.set(**devices[str(mapping["uuid"])])
            ensure_attached(self.work, mapping)

    def undo(self) -> None:
        work = self.work
        if self.tools.hypervisor.defined(work.uuid):
            raise HypervisorError(f"the guest of server {work.uuid} is left; it keeps its volumes")
        detach_one = detach if _ends(work) else reserve
        if work.elsewhere:
            return  # they are attached to the server's host by now
        for mapping in volume_mappings(work):
            if mapping.get("attachment_id"):
                detach_one(work, mapping)


class CheckVolumes(Step):
    """Connect the volumes of a server before its guest starts, after checking their attachments in
    Cinder: a volume that was detached behind Nova's back may be another server's by now.

    The mapping of a volume whose attachment was deleted in Cinder is deleted; a volume that is only
    reserved, after an interrupted rebuild, is attached. If Cinder does not answer, the
    connection_info of the mapping is used.

    :param memory_saved: the guest goes on from saved memory, which knows all its volumes: without
        one of them it is refused
    """

    name = "check_volumes"

    def __init__(self, work: Work, *, memory_saved: bool = False) -> None:
        super().__init__(work)
        self._memory_saved = memory_saved

    def do(self) -> None:
        for mapping in list(volume_mappings(self.work)):
            self._connect(mapping)

    def _connect(self, mapping: WireObject) -> None:
        try:
            ensure_attached(self.work, mapping)
        except VolumeAttachmentNotFound:
            self._forget(mapping)
        except (CredentialsInvalid, InvalidVolume, VolumeServiceUnavailable) as error:
            if not mapping.get("connection_info"):
                raise
            LOG.warning("Server %s starts with volume %s as the records have it: %s",
                        self.work.uuid, mapping["volume_id"], error)  # fmt: skip
            connect(self.work, mapping)

    def _forget(self, mapping: WireObject) -> None:
        work = self.work
        if mapping.get("boot_index") == 0:
            raise InvalidVolume(
                f"Invalid volume: the attachment of volume {mapping['volume_id']}, from which "
                f"server {work.uuid} boots, is gone"
            )
        if self._memory_saved:
            raise InvalidVolume(
                f"Invalid volume: the attachment of volume {mapping['volume_id']}, which the saved "
                f"memory of server {work.uuid} uses, is gone; hard reboot the server, which drops "
                "its memory"
            )
        LOG.warning("Server %s loses volume %s: its attachment is gone",
                    work.uuid, mapping["volume_id"])  # fmt: skip
        # The definitions that are not made anew now: a rescue system's, and the guest's own beside.
        self.tools.hypervisor.detach_disk(work.uuid, str(mapping["volume_id"]))
        forget_definition(work)
        disconnect(work, mapping)
        guest.mappings(work).remove(mapping)
        self.tools.block_devices.destroy(work.context, mapping)


class ReserveRootVolume(Step):
    """Reserve the root volume, so that Cinder can write an image into it."""

    name = "reserve_root_volume"

    def done(self) -> bool:
        """After a power failure the volume may be attached again: Cinder would refuse."""
        return RebuildNotes.of(self.work.notes).reimaged

    def do(self) -> None:
        reserve(self.work, root_volume(self.work))


class ReimageRootVolume(Step):
    """Have Cinder reimage the root volume.

    The end is reported by the event volume-reimaged, or by the volume's status: an agent that was
    killed meanwhile has missed the event, and a failure sends none.
    """

    name = "reimage_root_volume"

    def __init__(self, work: Work, image_id: str) -> None:
        super().__init__(work)
        self._image_id = image_id

    def done(self) -> bool:
        return RebuildNotes.of(self.work.notes).reimaged

    def do(self) -> None:
        work, tools = self.work, self.tools
        volume_id = str(root_volume(work)["volume_id"])
        patience = self._patience()
        tools.events.watch(work.uuid)
        try:
            if self._status(volume_id) != "downloading":
                tools.cinder.reimage_volume(
                    work.context, volume_id, self._image_id, reimage_reserved=True
                )
            self._wait(volume_id, patience)
        finally:
            tools.events.forget(work.uuid)
        work.note(reimaged=True)

    def _wait(self, volume_id: str, patience: float) -> None:
        work, clock = self.work, self.tools.clock
        deadline = clock.monotonic() + patience
        while (left := deadline - clock.monotonic()) > 0:
            turn = min(left, self.tools.pace.reimage_poll)
            missing = self.tools.events.wait(
                work.uuid, VOLUME_REIMAGED, {volume_id}, turn, work.cancelled
            )
            if not missing:
                return
            if work.cancelled.is_set():
                raise Interrupted
            status = self._status(volume_id)
            if status == "reserved":
                return
            if status != "downloading":
                raise self._failed(f"the status of volume {volume_id} is {status}")
        raise self._failed(f"Cinder has not written the image within {patience:.0f} s")

    def _status(self, volume_id: str) -> str:
        return str(self.tools.cinder.volume(self.work.context, volume_id)["status"])

    def _patience(self) -> float:
        """Seconds to wait: [DEFAULT]reimage_timeout_per_gb for the image's size."""
        image = self.tools.images.show(self.work.context, self._image_id)
        return float(self.tools.conf.reimage_timeout_per_gb * max(1, math.ceil(image.size / GIB)))

    def _failed(self, reason: str) -> BuildAborted:
        return BuildAborted(
            self.work.uuid, f"Failed to rebuild volume backed instance: {reason}"
        )


def root_volume(work: Work) -> WireObject:
    """The mapping of the volume that the server boots from.

    :raises InvalidVolume: it boots from none
    """
    for mapping in volume_mappings(work):
        if mapping.get("boot_index") == 0:
            return mapping
    raise InvalidVolume(f"Invalid volume: server {work.uuid} does not boot from a volume")


def boots_from_volume(work: Work) -> bool:
    """Whether the server has no root disk of its own."""
    return any(mapping.get("boot_index") == 0 for mapping in volume_mappings(work))


def reserve(work: Work, mapping: WireObject, *, for_host: bool = False) -> None:
    """Disconnect a volume from this host, and keep it reserved for its server; may be repeated.

    :param for_host: another host is about to attach it. The mapping keeps the connection_info of
        this one: nova-compute attaches a volume after a move only where there is one, and replaces
        it (``refresh_connection_info`` of nova/virt/block_device.py)
    """
    with disconnected(work, mapping) as volume:
        if volume:
            _reserve(work, mapping, {} if for_host else {"connection_info": None})


def _reserve(work: Work, mapping: WireObject, changed: dict[str, None]) -> None:
    """Replace the mapping's attachment by one without a connector, and delete all others.

    :param changed: what else of the mapping is not true any more
    """
    tools, before = work.tools, mapping.get("attachment_id")
    volume_id = str(mapping["volume_id"])
    found = tools.cinder.attachments(work.context, server_uuid=work.uuid, volume_id=volume_id)
    reserved = sorted(str(row["id"]) for row in found if row["status"] == "reserved")
    if before in reserved:
        kept = before
    elif reserved:
        kept = reserved[0]
    else:
        kept = tools.cinder.create_attachment(work.context, volume_id, work.uuid)["id"]
    if kept != before or any(mapping.get(name) for name in changed):
        tools.block_devices.save(work.context, mapping, attachment_id=kept, **changed)
    for row in found:
        if row["id"] != kept:
            tools.cinder.delete_attachment(work.context, str(row["id"]))


def _ends(work: Work) -> bool:
    """Whether the server is being deleted, or gone."""
    try:
        work.reload()
    except ServerNotFound:
        return True
    return work.instance.get("task_state") == TaskState.DELETING
