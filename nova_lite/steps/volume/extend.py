"""The step that resizes a server's disk after Cinder has extended its volume."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from nova_lite.errors import DomainNotFound, VolumeExtendFailed
from nova_lite.model.volume import Connection
from nova_lite.services.notes import ExtendNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import connection_info

LOG = logging.getLogger(__name__)

GIB = 1024**3
# What LUKS keeps before the data is far less than this; more means that sizes are not understood.
LARGEST_HEADER = 64 * 1024**2


class ExtendVolume(Step):
    """Rescan a volume's size on the host, resize the guest's disk, and save the mapping's size.

    A guest that is off gets the size at its next start. A disk is never made smaller.
    """


    def __init__(self, work: Work, volume_id: str) -> None:
        super().__init__(work)
        self.name = f"extend_{volume_id}"
        self._volume_id = volume_id

    def do(self) -> None:
        work, tools, volume_id = self.work, self.tools, self._volume_id
        mapping = tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            LOG.warning("Volume %s was extended, but is not attached to server %s",
                        volume_id, work.uuid)  # fmt: skip
            return
        connection = connection_info.load(mapping.get("connection_info"), volume_id)
        if connection is None:
            LOG.warning("Volume %s was extended, but is not connected for server %s yet",
                        volume_id, work.uuid)  # fmt: skip
            return
        before = mapping.get("volume_size")
        size = int(tools.cinder.volume(work.context, volume_id)["size"])
        if before and size < int(before):
            raise VolumeExtendFailed(
                volume_id, f"it had {before} GiB and now has {size}: a disk is not made smaller"
            )
        self._note_header(connection, before)
        if size != before:
            tools.block_devices.save(work.context, mapping, volume_size=size)
        usable = tools.volumes.of(connection).extend(connection, size * GIB) - self._header
        now = self._size_now()
        if now is not None and usable < now:
            raise VolumeExtendFailed(
                volume_id,
                f"the guest's disk has {now} bytes, the volume only {usable}: a disk is not made "
                "smaller",
            )
        if now is not None:
            tools.hypervisor.resize_disk(work.uuid, volume_id, usable)

    @property
    def _header(self) -> int:
        """Bytes of the volume that hold LUKS's header, not the guest's data."""
        return int(self._headers.get(self._volume_id) or 0)

    @property
    def _headers(self) -> Mapping[str, int]:
        return ExtendNotes.of(self.work.notes).luks_headers or {}

    def _note_header(self, connection: Connection, before: int | None) -> None:
        """Note the size of the LUKS header: that of the volume minus that of the guest's disk."""
        if not connection.encrypted or self._volume_id in self._headers:
            return
        now = self._size_now()
        if now is None:
            return
        header = int(before or 0) * GIB - now
        if not 0 < header < LARGEST_HEADER:
            raise VolumeExtendFailed(
                self._volume_id,
                f"its guest sees {now} bytes of {before} GiB; the new size is there when the "
                "server starts again",
            )
        self.work.note(luks_headers={**self._headers, self._volume_id: header})

    def _size_now(self) -> int | None:
        try:
            return self.tools.hypervisor.disk_size(self.work.uuid, self._volume_id)
        except DomainNotFound:
            return None
