"""Steps that connect the volumes of a running server to the host that it comes to.

Each volume gets a second Cinder attachment, with this host's connector, which its block device
mapping names from then on. The first one is deleted by the host that the server leaves, when the
guest has gone; its id travels in migrate_data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.errors import NovaLiteError, VolumeAttachmentNotFound
from nova_lite.guest.naming import bus_of_name, strip
from nova_lite.services import volume_keys
from nova_lite.services.abandoned import is_unfinished
from nova_lite.services.migrate_data import MovedVolume
from nova_lite.services.notes import ArrivalNotes
from nova_lite.services.volumes import (
    attachment_of,
    connect,
    connect_attachment,
    connection_of,
    disconnect,
    volume_mappings,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.live.prepare import require_no_guest
from nova_lite.wire import connection_info
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Statuses of a Cinder attachment that an attempt whose answer was lost may have left.
BEGUN = ("reserved", "attaching")


class AttachArriving(Step):
    """Make the attachments and connect the volumes; the undo gives the mappings back what they
    had.

    :param infos: mapping uuid -> connection_info of the other host, which this fills. It may hold
        secrets, so it is only in memory
    """

    name = "attach_arriving"

    def __init__(self, work: Work, infos: dict[str, str | None]) -> None:
        super().__init__(work)
        self._infos = infos

    def do(self) -> None:
        work = self.work
        old = self._source_attachments()
        for mapping in volume_mappings(work):
            before = old.get(str(mapping["uuid"]))
            if before is None:
                continue
            if mapping.get("attachment_id") == before:
                self._infos[str(mapping["uuid"])] = mapping.get("connection_info")
                self._attach(mapping, before)
            else:
                connect(work, mapping)

    def _source_attachments(self) -> Mapping[str, str]:
        """Mapping uuid -> attachment of the other host; noted before the first is replaced.

        :raises InvalidVolume: a volume has none
        """
        noted = ArrivalNotes.of(self.work.notes).attachments_there
        if noted is None:
            noted = {
                str(mapping["uuid"]): attachment_of(mapping)
                for mapping in volume_mappings(self.work)
                if not is_unfinished(mapping)
            }
            if noted:
                self.work.note(attachments_there=noted)
        return noted

    def _attach(self, mapping: WireObject, before: str) -> None:
        work, tools = self.work, self.tools
        volume = tools.cinder.volume(work.context, str(mapping["volume_id"]))
        with tools.volumes.guard(volume):
            attachment = self._own(mapping, before)
            connect_attachment(
                work, mapping, volume, attachment, attachment_id=str(attachment["id"])
            )

    def _own(self, mapping: WireObject, before: str) -> Mapping[str, Any]:
        """The attachment for this host, with the connection; noted as soon as it is known.

        Cinder updates no attachment beside one that is connected (``attachment_update`` of
        cinder/volume/api.py): what is noted is used as it is, and what was made and not noted is
        made again.
        """
        work, cinder = self.work, self.tools.cinder
        volume_id, name = str(mapping["volume_id"]), mapping["device_name"]
        known = ArrivalNotes.of(work.notes).attachments_here or {}
        noted = self._noted(known.get(str(mapping["uuid"])))
        if noted is not None:
            return noted
        if self.repeated:
            self._drop_begun(volume_id, before)
        connector = self.tools.connector.properties()
        attachment = cinder.create_attachment(work.context, volume_id, work.uuid, connector, name)
        work.note(attachments_here={**known, str(mapping["uuid"]): str(attachment["id"])})
        return attachment

    def _noted(self, attachment_id: str | None) -> Mapping[str, Any] | None:
        """An attachment with its connection; None: there is none."""
        if attachment_id is None:
            return None
        try:
            found = self.tools.cinder.attachment(self.work.context, attachment_id)
        except VolumeAttachmentNotFound:
            return None
        return found if found.get("connection_info") else None

    def _drop_begun(self, volume_id: str, before: str) -> None:
        """Delete what an attempt has made and could not note; nothing is connected by it."""
        work, cinder = self.work, self.tools.cinder
        for row in cinder.attachments(work.context, server_uuid=work.uuid, volume_id=volume_id):
            if row["id"] != before and row["status"] in BEGUN:
                cinder.delete_attachment(work.context, str(row["id"]))

    def undo(self) -> None:
        work, notes = self.work, ArrivalNotes.of(self.work.notes)
        own, old = notes.attachments_here or {}, notes.attachments_there or {}
        if own:
            require_no_guest(work)
        for mapping in volume_mappings(work):
            mine, before = own.get(str(mapping["uuid"])), old.get(str(mapping["uuid"]))
            if mine is None or before is None:
                continue
            recorded = mapping.get("attachment_id") == mine
            if recorded:
                disconnect(work, mapping)
            self.tools.cinder.delete_attachment(work.context, mine)
            if recorded:
                info = self._info_of(mapping, before)
                self.tools.block_devices.save(
                    work.context, mapping, attachment_id=before, connection_info=info
                )

    def _info_of(self, mapping: WireObject, before: str) -> str | None:
        """The connection_info of the other host; of an earlier process Cinder knows it, too."""
        if str(mapping["uuid"]) in self._infos:
            return self._infos[str(mapping["uuid"])]
        volume_id = str(mapping["volume_id"])
        try:
            attachment = self.tools.cinder.attachment(self.work.context, before)
            volume = self.tools.cinder.volume(self.work.context, volume_id)
            return connection_info.dump(
                connection_info.from_cinder(attachment, volume_id, bool(volume.get("multiattach")))
            )
        except NovaLiteError as error:
            LOG.warning("How the other host has connected volume %s of server %s is not recorded "
                        "here: %s", volume_id, self.work.uuid, error)  # fmt: skip
            return None


class CompleteArriving(Step):
    """Tell Cinder that the volumes are in use here."""

    name = "complete_arriving"

    def do(self) -> None:
        own = ArrivalNotes.of(self.work.notes).attachments_here or {}
        for attachment in own.values():
            self.tools.cinder.complete_attachment(self.work.context, attachment)


def moved_volumes(work: Work) -> list[MovedVolume]:
    """The volumes as this host has connected them, for the guest's definition here."""
    found = []
    own = ArrivalNotes.of(work.notes).attachments_here or {}
    for mapping in volume_mappings(work):
        if str(mapping["uuid"]) not in own:
            continue
        connection = connection_of(mapping)
        target = str(strip(mapping["device_name"]))
        found.append(
            MovedVolume(
                volume_id=connection.volume_id,
                target=target,
                bus=str(mapping.get("disk_bus") or bus_of_name(target)),
                kind=mapping.get("device_type") or "disk",
                connection=connection,
                boot_index=_boot_order(mapping),
                secret=volume_keys.secret_uuid(work, connection),
            )
        )
    return found


def _boot_order(mapping: WireObject) -> int | None:
    """As in libvirt's XML, which counts from 1; stock tells it so."""
    index = mapping.get("boot_index")
    return int(index) + 1 if index is not None and int(index) >= 0 else None


def replaced(work: Work) -> dict[str, str]:
    """Volume id -> attachment of the host that the server is on."""
    old = ArrivalNotes.of(work.notes).attachments_there or {}
    return {
        str(mapping["volume_id"]): old[str(mapping["uuid"])]
        for mapping in volume_mappings(work)
        if str(mapping["uuid"]) in old
    }
