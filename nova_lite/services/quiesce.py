"""Holding a guest's file systems still while its disk is copied, by its QEMU guest agent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nova_lite.errors import NovaLiteError
from nova_lite.services import guest
from nova_lite.services.guest_agent import has_agent, require_agent
from nova_lite.services.power_state import is_running
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

NO, IF_POSSIBLE, REQUIRED = "no", "if possible", "required"


def wanted(work: Work) -> str:
    """Whether the guest's file systems are to be at rest for the copy.

    :raises GuestAgentNotEnabled: they have to be, and cannot
    """
    if not guest.image_says(work, "os_require_quiesce"):
        return IF_POSSIBLE if has_agent(work) else NO
    require_agent(work)
    return REQUIRED


@contextmanager
def quiet(work: Work, quiesce: str) -> Iterator[None]:
    """Hold the guest's file systems still inside the block.

    :raises NovaLiteError: they have to be still, and the guest does not obey
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
    """Let a guest write that this operation has frozen, or tried to."""
    if not work.notes.get("frozen"):
        return
    try:
        work.tools.hypervisor.thaw(work.uuid)
    except NovaLiteError as error:
        LOG.warning("Could not thaw the file systems of server %s: %s", work.uuid, error)
    work.note(frozen=False)
