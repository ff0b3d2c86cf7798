"""Steps that create, attach and complete the volumes of a server that is being built.

The metadata of a volume that is created here names its block device mapping, so that a resumed
boot finds a volume that was created but not saved in the mapping yet.
"""

from __future__ import annotations

import itertools
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.errors import (
    BuildAborted,
    InvalidBlockDevice,
    InvalidVolume,
    NovaLiteError,
    RequestTokenExpired,
    Verdict,
    VolumeKeyUnavailable,
    VolumeNotCreated,
    VolumeServiceUnavailable,
)
from nova_lite.services import guest
from nova_lite.services.notes import BuildNotes
from nova_lite.services.volumes import (
    check_zone,
    connect,
    connect_attachment,
    disconnect,
    is_attached,
    volume_mappings,
)
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.volume.delete import attachment_ids, delete_attachments
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

MADE_FOR = "nova_block_device_mapping"
# Seconds for which a build waits for a Cinder that does not answer.
PATIENCE = 60.0
# Seconds between the first looks at a volume that is being made; later ones are nova.conf's.
LOOKS = (0.2, 0.5, 1.0, 2.0)
# What ends a build, as in stock: what goes wrong with a volume, but not on this host.
ENDS_BUILD = (InvalidVolume, InvalidBlockDevice, VolumeKeyUnavailable, RequestTokenExpired)


class VolumeStep(Step):
    """A step about all volumes of a server that is being built; a failure aborts the build.

    Cinder is waited for with a limit, so that the user gets a fault that names it.
    """


    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._away_since: float | None = None

    def do(self) -> None:
        self._carry_out(self.prepare)

    def undo(self) -> None:
        self._carry_out(self.take_back)

    @abstractmethod
    def prepare(self) -> None:
        """What ``do`` does, with a limit on waiting for Cinder."""

    def take_back(self) -> None:  # noqa: B027  some have nothing to take back
        """What ``undo`` does, with a limit on waiting for Cinder."""

    def _carry_out(self, action: Callable[[], None]) -> None:
        try:
            action()
        except VolumeServiceUnavailable as error:
            now = self.tools.clock.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since < PATIENCE and not self.work.cancelled.is_set():
                raise  # the engine tries again
            raise BuildAborted(self.work.uuid, error.message) from error
        except ENDS_BUILD as error:
            if error.verdict is Verdict.RESCHEDULE and isinstance(error, InvalidVolume):
                raise  # this host's fault
            raise BuildAborted(self.work.uuid, error.message) from error


class CreateVolumes(VolumeStep):
    """Create the volumes that do not exist yet: from an image, from a snapshot, or empty."""

    name = "create_volumes"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        conf = self.tools.conf
        self._interval = float(conf.block_device_allocate_retries_interval)
        self._limit = self._interval * conf.block_device_allocate_retries

    def prepare(self) -> None:
        ours = self._ours()
        for mapping in ours:
            if not mapping.get("volume_id"):
                volume = self._made_before(mapping) or self._make(mapping)
                self.tools.block_devices.save(self.work.context, mapping, volume_id=volume["id"])
        for mapping in ours:
            self._wait_for(mapping)

    def take_back(self) -> None:
        """Wait for volumes that are still being created: Cinder deletes only finished ones."""
        for mapping in self._ours():
            if mapping.get("volume_id"):
                self._finished(mapping["volume_id"], self.tools.clock.sleep)

    def _ours(self) -> list[WireObject]:
        """Mappings whose volume is created here; attached ones are of an earlier attempt."""
        return [
            mapping
            for mapping in volume_mappings(self.work)
            if mapping["source_type"] != "volume" and not mapping.get("attachment_id")
        ]

    def _made_before(self, mapping: WireObject) -> dict[str, Any] | None:
        """The volume that an earlier attempt created, if any."""
        asked = BuildNotes.of(self.work.notes).asked_for_volumes or {}
        if mapping["uuid"] not in asked:
            self.work.note(asked_for_volumes={**asked, mapping["uuid"]: _ends(mapping)})
            return None
        clock, pace = self.tools.clock, self.tools.pace
        deadline = clock.monotonic() + pace.volume_request
        while True:
            found = _made_for(self.work, mapping["uuid"])
            if found or clock.monotonic() >= deadline:
                return found[0] if found else None
            clock.sleep(pace.volume_request_poll)

    def _make(self, mapping: WireObject) -> dict[str, Any]:
        work, source = self.work, mapping["source_type"]
        same_zone = not self.tools.conf.cinder.cross_az_attach
        return self.tools.cinder.create_volume(
            work.context,
            mapping["volume_size"],
            name=f"{work.uuid}-blank-vol" if source == "blank" else "",
            description="",
            volume_type=mapping.get("volume_type"),
            availability_zone=work.instance.get("availability_zone") if same_zone else None,
            imageRef=mapping.get("image_id") if source == "image" else None,
            snapshot_id=mapping.get("snapshot_id") if source == "snapshot" else None,
            metadata={MADE_FOR: mapping["uuid"]},
        )

    def _wait_for(self, mapping: WireObject) -> None:
        volume_id = str(mapping["volume_id"])
        status, seconds, attempts = self._finished(volume_id, self._pause)
        # A build that was cut off may have attached it without having recorded that.
        if status != "available" and not attachment_ids(self.work, mapping):
            raise VolumeNotCreated(volume_id, seconds, attempts, status)

    def _pause(self, seconds: float) -> None:
        if self.tools.clock.wait(self.work.cancelled, seconds):
            raise Interrupted

    def _finished(self, volume_id: str, pause: Callable[[float], None]) -> tuple[str, int, int]:
        """Poll the volume until it is created or the configured time is over.

        :returns: its status, the seconds that took, and the number of attempts
        """
        began = self.tools.clock.monotonic()
        lengths = itertools.chain(LOOKS, itertools.repeat(self._interval))
        for attempts, length in enumerate(lengths, 1):
            status = self.tools.cinder.volume(self.work.context, volume_id)["status"]
            seconds = self.tools.clock.monotonic() - began
            if status not in ("creating", "downloading") or seconds >= self._limit:
                return status, int(seconds), attempts
            pause(min(length, self._interval))
        raise AssertionError("the pauses have no end")


class AttachVolumes(VolumeStep):
    """Attach and connect all volumes, and save their connection_info."""

    name = "attach_volumes"
    exclusive = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._recorded: set[str] = set()  # an attempt after a lost answer goes on from there

    def prepare(self) -> None:
        records = guest.disk_plan(self.work).bdm_updates
        for mapping in volume_mappings(self.work):
            uuid = str(mapping["uuid"])
            if uuid in self._recorded:
                continue
            if self.work.resumed and is_attached(self.work, mapping):
                connect(self.work, mapping)
            else:
                self._attach(mapping, records[uuid])
            self._recorded.add(uuid)

    def _attach(self, mapping: WireObject, device: Mapping[str, str]) -> None:
        work, tools = self.work, self.tools
        volume = tools.cinder.volume(work.context, mapping["volume_id"])
        check_zone(work, volume)
        with tools.volumes.guard(volume):
            attachment = self._attachment(mapping, volume, device["device_name"])
            connect_attachment(
                work, mapping, volume, attachment, attachment_id=attachment["id"], **device
            )

    def _attachment(
        self, mapping: WireObject, volume: Mapping[str, Any], device_name: str
    ) -> dict[str, Any]:
        """The attachment with this host's connector: the reserved one updated, or a new one."""
        work, cinder = self.work, self.tools.cinder
        connector = self.tools.connector.properties()
        reserved = mapping.get("attachment_id")
        if not reserved and volume["status"] != "available":
            # Perhaps we were killed before it was recorded.
            reserved = next(iter(attachment_ids(work, mapping)), None)
        if reserved:
            return cinder.update_attachment(work.context, reserved, connector, device_name)
        return cinder.create_attachment(
            work.context, volume["id"], work.uuid, connector, device_name
        )

    def take_back(self) -> None:
        """Disconnect them and delete their attachments; the conductor reserves them again.

        All are disconnected first: if Cinder does not answer, nova-api deletes the attachments with
        the server, but nobody would disconnect this host any more.
        """
        work = self.work
        ours = [mapping for mapping in volume_mappings(work) if mapping.get("volume_id")]
        for mapping in ours:
            disconnect(work, mapping)
        if work.elsewhere:
            return  # the attachments are those of the server's host by now
        for mapping in ours:
            for attachment_id in attachment_ids(work, mapping):
                self.tools.cinder.delete_attachment(work.context, attachment_id)


class CompleteAttachments(VolumeStep):
    """Complete the attachments: the volumes are in use."""

    name = "complete_attachments"

    def prepare(self) -> None:
        for mapping in volume_mappings(self.work):
            self.tools.cinder.complete_attachment(self.work.context, mapping["attachment_id"])


def reserve_for_next_host(work: Work) -> None:
    """Create attachments for volumes that have none, before the build is rescheduled.

    The conductor reserves volumes again whose attachment was deleted. A volume without an
    attachment_id would be attached through the pre-Queens API by nova-compute.
    """
    for mapping in volume_mappings(work):
        recorded = mapping.get("attachment_id") and "attachment_id" not in mapping.changes
        if mapping.get("volume_id") and not recorded:
            made = attachment_ids(work, mapping) or [
                work.tools.cinder.create_attachment(
                    work.context, mapping["volume_id"], work.uuid
                )["id"]
            ]
            work.tools.block_devices.save(work.context, mapping, attachment_id=made[0])


def release_after_failure(work: Work) -> None:
    """Delete the attachments after a build that was aborted, and the volumes that have
    delete_on_termination. What fails here is deleted together with the server."""
    for mapping in volume_mappings(work):
        try:
            delete_attachments(work, mapping)
        except NovaLiteError as error:
            LOG.warning("Volume %s of server %s is left as it is: %s",
                        mapping.get("volume_id"), work.uuid, error)  # fmt: skip


def delete_unrecorded(work: Work) -> None:
    """Delete the volumes that were created for a server that was deleted meanwhile, where no block
    device mapping has their ids."""
    asked = BuildNotes.of(work.notes).asked_for_volumes
    if not asked:
        return
    rows = work.tools.block_devices.of_server(work.context, work.uuid)
    recorded = {str(row["uuid"]) for row in rows if row.get("volume_id")}
    for uuid in [uuid for uuid, ends in asked.items() if ends and uuid not in recorded]:
        try:
            for volume in _made_for(work, uuid):
                work.tools.cinder.delete_volume(work.context, volume["id"])
        except NovaLiteError as error:
            LOG.warning("A volume made for server %s, which is gone, is left: its metadata has "
                        "%s=%s: %s", work.uuid, MADE_FOR, uuid, error)  # fmt: skip


def _ends(mapping: WireObject) -> bool:
    """Whether the volume is deleted with its server."""
    return bool(mapping.get("delete_on_termination"))


def _made_for(work: Work, mapping_uuid: str) -> list[dict[str, Any]]:
    return work.tools.cinder.find_volumes(work.context, {MADE_FOR: mapping_uuid})
