"""Freezing a guest's file systems through its QEMU guest agent while its disk is copied."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nova_lite.errors import NovaLiteError
from nova_lite.services import guest
from nova_lite.services.guest_agent import has_agent, require_agent
from nova_lite.services.notes import SnapshotNotes
from nova_lite.services.power_state import is_running
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

NO, IF_POSSIBLE, REQUIRED = "no", "if possible", "required"


def wanted(work: Work) -> str:
    """Whether the guest's file systems have to be frozen for the copy.

    :raises GuestAgentNotEnabled: os_require_quiesce is set, and the image has no guest agent
    """
    if not guest.image_says(work, "os_require_quiesce"):
        return IF_POSSIBLE if has_agent(work) else NO
    require_agent(work)
    return REQUIRED


@contextmanager
def quiet(work: Work, quiesce: str) -> Iterator[None]:
    """Freeze the guest's file systems for the time of the block.

    :raises NovaLiteError: the freeze is required, and failed
    """
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    if quiesce == NO or (quiesce == IF_POSSIBLE and not is_running(hypervisor, uuid)):
        yield
        return
    work.note(frozen=True)  # also when it fails: its answer may have got lost
    try:
        try:
            hypervisor.freeze(uuid)
        except NovaLiteError as error:
            if quiesce == REQUIRED:
                raise
            LOG.warning("Server %s is copied without its file systems at rest: %s", uuid, error)
        yield
    finally:
        thaw(work)


def thaw(work: Work) -> None:
    """Thaw the guest if this operation has frozen it, or tried to."""
    if not SnapshotNotes.of(work.notes).frozen:
        return
    try:
        work.tools.hypervisor.thaw(work.uuid)
    except NovaLiteError as error:
        LOG.warning("Could not thaw the file systems of server %s: %s", work.uuid, error)
    work.note(frozen=False)
