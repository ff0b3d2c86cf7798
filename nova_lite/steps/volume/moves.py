"""Steps by which a server's volumes leave this host or come to it, while they stay the server's.

A server without a host has its volumes reserved: each has an attachment without a connector, made
before the connected one is deleted, so that nobody else can get the volume in between. What is cut
off finds in Cinder how far it came.
"""

from __future__ import annotations

import logging
import math
import time

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
from nova_lite.services.events import VOLUME_REIMAGED
from nova_lite.services.volumes import connect, disconnect, take, volume_mappings
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.volume.attachments import release, taken_off
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

GIB = 1024**3
LOOK_AGAIN = 5.0  # seconds between two looks at a volume whose image is written


class GiveVolumesBack(Step):
    """Let go of the volumes of a server that leaves this host; they stay reserved for it."""

    name = "give_volumes_back"

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            give_back(self.work, mapping)


class TakeVolumes(Step):
    """Attach the volumes of a server that comes to this host.

    Taking it back reserves them for the server again, wherever it goes; those of a server that is
    being deleted are given back for good.
    """

    name = "take_volumes"
    exclusive = True

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            if not mapping.get("device_name"):  # attached while the server had no host
                devices = guest.disk_plan(self.work).bdm_updates
                mapping.set(**devices[str(mapping["uuid"])])
            take(self.work, mapping)

    def undo(self) -> None:
        work = self.work
        if self.tools.hypervisor.defined(work.uuid):
            raise HypervisorError(f"the guest of server {work.uuid} is left; it keeps its volumes")
        let_go = release if _ends(work) else give_back
        for mapping in volume_mappings(work):
            if mapping.get("attachment_id"):
                let_go(work, mapping)


class CheckVolumes(Step):
    """Connect the volumes of a server that is rebooted, after a look at what Cinder says of them.

    One that was taken from the server behind Nova's back is nobody's disk any more; one that is
    only reserved, since another agent was cut off in a rebuild, is attached. Where Cinder does not
    tell, the server gets what the records say.
    """

    name = "check_volumes"

    def do(self) -> None:
        for mapping in list(volume_mappings(self.work)):
            self._connect(mapping)

    def _connect(self, mapping: WireObject) -> None:
        try:
            take(self.work, mapping)
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
        LOG.warning("Server %s loses volume %s: its attachment is gone",
                    work.uuid, mapping["volume_id"])  # fmt: skip
        disconnect(work, mapping)
        guest.mappings(work).remove(mapping)
        self.tools.block_devices.destroy(work.context, mapping)


class ReserveRootVolume(Step):
    """Detach the volume that a server boots from, for Cinder to write an image into it."""

    name = "reserve_root_volume"

    def do(self) -> None:
        give_back(self.work, root_volume(self.work))


class ReimageRootVolume(Step):
    """Have Cinder write the image into the root volume; from here on there is only forward.

    Cinder's event tells when it is over, or the volume itself: an agent that was killed meanwhile
    has missed the event, and of a failure there is none.
    """

    name = "reimage_root_volume"

    def __init__(self, work: Work, image_id: str) -> None:
        super().__init__(work)
        self._image_id = image_id

    def do(self) -> None:
        work, tools = self.work, self.tools
        volume_id = str(root_volume(work)["volume_id"])
        patience = self._patience()
        work.note(emptied=True)
        tools.events.watch(work.uuid)
        try:
            if self._status(volume_id) != "downloading":
                tools.cinder.reimage_volume(
                    work.context, volume_id, self._image_id, reimage_reserved=True
                )
            self._wait(volume_id, patience)
        finally:
            tools.events.forget(work.uuid)

    def _wait(self, volume_id: str, patience: float) -> None:
        work, deadline = self.work, time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            missing = self.tools.events.wait(
                work.uuid, VOLUME_REIMAGED, {volume_id}, min(left, LOOK_AGAIN), work.cancelled
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
        """Seconds that nova.conf grants for the image's size."""
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


def give_back(work: Work, mapping: WireObject) -> None:
    """Disconnect a volume, and have it reserved for its server; again is success."""
    with taken_off(work, mapping) as volume:
        if volume:
            _reserve(work, mapping)


def _reserve(work: Work, mapping: WireObject) -> None:
    """Make the mapping's attachment one without a connector, and the only one."""
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
    if kept != before or mapping.get("connection_info"):
        tools.block_devices.save(work.context, mapping, attachment_id=kept, connection_info=None)
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
