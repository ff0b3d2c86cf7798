"""Steps that give a server its volumes while it is built, and take them back when that fails.

A volume that is made here says in its metadata for which block device mapping it was made. A
process that died between asking Cinder for it and recording it is followed by one that finds it.
"""

from __future__ import annotations

import itertools
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.errors import (
    BuildAborted,
    HostConnectorFailed,
    InvalidBlockDevice,
    InvalidVolume,
    NovaLiteError,
    VolumeAttachFailed,
    VolumeKeyUnavailable,
    VolumeNotCreated,
    VolumeServiceUnavailable,
)
from nova_lite.services import guest
from nova_lite.services.volumes import check_zone, disconnect, reach, volume_mappings
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.volume.delete import attachment_ids, release
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

MADE_FOR = "nova_block_device_mapping"
# Seconds for which a build waits for a Cinder that does not answer.
PATIENCE = 60.0
# Seconds between the first looks at a volume that is being made; later ones are nova.conf's.
LOOKS = (0.2, 0.5, 1.0, 2.0)
# Seconds in which a request to make a volume may still be under way whose sender has died.
UNDER_WAY, POLL = 5.0, 0.5
# What ends a build, as anything does in stock that goes wrong with a volume.
ENDS_BUILD = (
    InvalidVolume,
    InvalidBlockDevice,
    VolumeAttachFailed,
    VolumeKeyUnavailable,
    HostConnectorFailed,
)


class VolumeStep(Step):
    """Something about all volumes of a server that is being built; what goes wrong ends the build.

    Cinder is waited for, but not for ever: its user shall learn what the server waits for.
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
        """What the step does."""

    def take_back(self) -> None:  # noqa: B027  some have nothing to take back
        """What undoes it."""

    def _carry_out(self, action: Callable[[], None]) -> None:
        try:
            action()
        except VolumeServiceUnavailable as error:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since < PATIENCE and not self.work.cancelled.is_set():
                raise  # the engine tries again
            raise BuildAborted(self.work.uuid, error.message) from error
        except ENDS_BUILD as error:
            raise BuildAborted(self.work.uuid, error.message) from error


class CreateVolumes(VolumeStep):
    """Make the volumes that do not exist yet: from an image, from a snapshot, or empty."""

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
            self._wait_for(mapping["volume_id"])

    def take_back(self) -> None:
        """Wait for what is still being made: Cinder deletes only what is finished."""
        for mapping in self._ours():
            if mapping.get("volume_id"):
                self._finished(mapping["volume_id"], time.sleep)

    def _ours(self) -> list[WireObject]:
        """Volumes to make; one that is attached was made for an earlier try of this build."""
        return [
            mapping
            for mapping in volume_mappings(self.work)
            if mapping["source_type"] != "volume" and not mapping.get("attachment_id")
        ]

    def _made_before(self, mapping: WireObject) -> dict[str, Any] | None:
        """The volume that was asked for already, if it was and if Cinder has made it."""
        asked = self.work.notes.get("asked_for_volumes", {})
        if mapping["uuid"] not in asked:
            self.work.note(asked_for_volumes={**asked, mapping["uuid"]: _ends(mapping)})
            return None
        deadline = time.monotonic() + UNDER_WAY
        while True:
            found = _made_for(self.work, mapping["uuid"])
            if found or time.monotonic() >= deadline:
                return found[0] if found else None
            time.sleep(POLL)

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

    def _wait_for(self, volume_id: str) -> None:
        status, seconds, attempts = self._finished(volume_id, self._pause)
        if status != "available":
            raise VolumeNotCreated(volume_id, seconds, attempts, status)

    def _pause(self, seconds: float) -> None:
        if self.work.cancelled.wait(seconds):
            raise Interrupted

    def _finished(self, volume_id: str, pause: Callable[[float], None]) -> tuple[str, int, int]:
        """The volume's status when Cinder has done with it, or after as long as nova.conf says; the
        seconds that took, and how often it was asked."""
        began = time.monotonic()
        lengths = itertools.chain(LOOKS, itertools.repeat(self._interval))
        for attempts, length in enumerate(lengths, 1):
            status = self.tools.cinder.volume(self.work.context, volume_id)["status"]
            seconds = time.monotonic() - began
            if status not in ("creating", "downloading") or seconds >= self._limit:
                return status, int(seconds), attempts
            pause(min(length, self._interval))
        raise AssertionError("the pauses have no end")


class AttachVolumes(VolumeStep):
    """Bring all volumes to this host, and record how it reaches them."""

    name = "attach_volumes"
    exclusive = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._recorded: set[str] = set()  # an attempt after a lost answer goes on from there

    def prepare(self) -> None:
        records = guest.disk_plan(self.work).bdm_updates
        for mapping in volume_mappings(self.work):
            uuid = str(mapping["uuid"])
            if uuid not in self._recorded:
                self._attach(mapping, records[uuid])
                self._recorded.add(uuid)

    def _attach(self, mapping: WireObject, device: Mapping[str, str]) -> None:
        work, tools = self.work, self.tools
        volume = tools.cinder.volume(work.context, mapping["volume_id"])
        check_zone(work, volume)
        with tools.volumes.guard(volume):
            attachment = self._attachment(mapping, volume, device["device_name"])
            reach(work, mapping, volume, attachment, attachment_id=attachment["id"], **device)

    def _attachment(
        self, mapping: WireObject, volume: Mapping[str, Any], device_name: str
    ) -> dict[str, Any]:
        """The attachment for this host: the one that was reserved, else a new one."""
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
        """Let go of them; the conductor reserves them again for the next host.

        All are disconnected first: what Cinder cannot be told, the API tells it when the server is
        deleted, but then nobody comes to this host any more.
        """
        work = self.work
        ours = [mapping for mapping in volume_mappings(work) if mapping.get("volume_id")]
        for mapping in ours:
            disconnect(work, mapping)
        for mapping in ours:
            for attachment_id in attachment_ids(work, mapping):
                self.tools.cinder.delete_attachment(work.context, attachment_id)


class CompleteAttachments(VolumeStep):
    """Tell Cinder that the guest has its volumes."""

    name = "complete_attachments"

    def prepare(self) -> None:
        for mapping in volume_mappings(self.work):
            self.tools.cinder.complete_attachment(self.work.context, mapping["attachment_id"])


def reserve_for_next_host(work: Work) -> None:
    """Have volumes that were made, but not attached, be attached where the server goes next.

    The conductor reserves volumes again whose attachment is gone. What was never attached would be
    attached in the ways of old by a stock agent.
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
    """After a build that has failed for good: users get their volumes back, and those that end with
    the server are deleted. What is left is deleted with the server."""
    for mapping in volume_mappings(work):
        try:
            release(work, mapping)
        except NovaLiteError as error:
            LOG.warning("Volume %s of server %s is left as it is: %s",
                        mapping.get("volume_id"), work.uuid, error)  # fmt: skip


def delete_unrecorded(work: Work) -> None:
    """Delete the volumes that were made for a server which was deleted meanwhile, if no record
    tells anybody of them."""
    asked = work.notes.get("asked_for_volumes")
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
    """Whether the volume ends with its server."""
    return bool(mapping.get("delete_on_termination"))


def _made_for(work: Work, mapping_uuid: str) -> list[dict[str, Any]]:
    return work.tools.cinder.find_volumes(work.context, {MADE_FOR: mapping_uuid})
