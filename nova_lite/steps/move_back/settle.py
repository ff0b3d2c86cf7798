"""Steps of a server that was about to leave, and stays: nobody goes on with its move."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_lite.errors import DiskError
from nova_lite.services import kept_disks
from nova_lite.services.disk_files import directory
from nova_lite.services.work import Work
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)


class BringBackFiles(Step):
    """Give the server's files their name again, if another agent has renamed them."""

    name = "bring_back_files"

    def do(self) -> None:
        work = self.work
        if kept_disks.are_kept(work) and directory(work).exists():
            raise DiskError(
                f"the server has files in {directory(work)}, and beside it with "
                f"{kept_disks.SUFFIX}: keep the right ones under the first name, and reboot it hard"
            )
        kept_disks.take_back(work)


class EndMove(Step):
    """Let the server hold what it held before, and record that the move has failed.

    :param end: does both; may be repeated
    """

    name = "end_move"

    def __init__(self, work: Work, end: Callable[[], None]) -> None:
        super().__init__(work)
        self._end = end

    def do(self) -> None:
        LOG.warning("The move of server %s was left half done by another agent: it stays here",
                    self.work.uuid)  # fmt: skip
        self._end()
