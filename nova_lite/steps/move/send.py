"""The step that brings a server's files to where they are to be."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from nova_lite.drivers.disk import durable, files, space
from nova_lite.drivers.disk.base import RemoteFiles, TransferCancelled
from nova_lite.errors import NovaLiteError
from nova_lite.services import guest_state, kept_disks, moved_disks, moves
from nova_lite.services.disk_files import directory
from nova_lite.services.moved_disks import MovedFile
from nova_lite.services.notes import MoveNotes
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)

TELL_S = 10.0  # seconds between two reports of the progress in the server's record


class SendDisks(Step):
    """Send the kept files to the other host, or copy them to the server's directory where that host
    shares it; disks in a cluster stay where they are.

    The undo is that of the steps before: the directory that was made is removed.
    """

    name = "send_disks"
    _looked = 0.0

    def do(self) -> None:
        work = self.work
        if self.repeated:
            moves.require_begun(work)  # the other host may have evacuated the server meanwhile
        self._looked = self.tools.clock.monotonic()
        if self.tools.disks.shared or not kept_disks.are_kept(work):
            work.note(disk_info="[]")
            return
        work.note(disk_info=json.dumps(moved_disks.described(work)))
        moved = [*moved_disks.files(work), *moved_disks.beside(work, guest_state.keep(work))]
        if MoveNotes.of(work.notes).files_shared:
            self._copy(moved)
        else:
            self._send(moved)

    def _copy(self, moved: list[MovedFile]) -> None:
        """To the directory beside; what is there is whole."""
        for file in moved:
            if self.work.cancelled.is_set():
                raise Interrupted
            with space.reported(file.target, file.size):
                durable.make_directory(file.target.parent)
                if not file.target.exists():
                    with durable.made_whole(file.target) as part:
                        files.copy(file.path, part)

    def _send(self, moved: list[MovedFile]) -> None:
        remote = moved_disks.remote_of(self.work)
        missing = [file for file in moved_disks.bases(self.work)
                   if not remote.exists(str(file.target))]  # fmt: skip
        progress = _Progress(self.work, sum(file.size for file in (*missing, *moved)))
        for file in missing:
            remote.make_directory(str(file.target.parent))
            self._send_one(remote, file, progress)
            remote.touch(str(file.target))  # in the cache it counts as used from now on
        for file in moved:
            if file.target.parent != directory(self.work):
                remote.make_directory(str(file.target.parent))
            self._send_one(remote, file, progress)

    def _send_one(self, remote: RemoteFiles, file: MovedFile, progress: _Progress) -> None:
        now = self.tools.clock.monotonic()
        if now - self._looked > moves.OLD_S:
            moves.require_begun(self.work)
            self._looked = now
        try:
            remote.send(
                Path(file.path), str(file.target), cancelled=self.work.cancelled,
                progress=progress.at,
            )  # fmt: skip
        except TransferCancelled:
            raise Interrupted from None
        progress.ended(file)


class _Progress:
    """Tells in the server's record how much has been sent, in percent; the log tells of each file.

    :param total: bytes of all files
    """

    def __init__(self, work: Work, total: int) -> None:
        self._work, self._clock = work, work.tools.clock
        self._total, self._before = total, 0
        self._told, self._percent = self._clock.monotonic(), 0

    def at(self, sent: int, of: int) -> None:
        now = self._clock.monotonic()
        percent = min(99, 100 * (self._before + sent) // max(self._total, 1))
        if now - self._told < TELL_S or percent <= self._percent:
            return
        self._told, self._percent = now, percent
        work = self._work
        try:
            work.tools.instances.save(work.context, work.instance, progress=percent)
        except NovaLiteError as error:
            LOG.debug("Progress %d %% of server %s is not recorded: %s", percent, work.uuid, error)

    def ended(self, file: MovedFile) -> None:
        self._before += file.size
