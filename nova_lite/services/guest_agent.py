"""Whether a server's image promises a QEMU guest agent."""

from __future__ import annotations

from nova_lite.errors import (
    GuestAgentNotEnabled,
)
from nova_lite.services import guest
from nova_lite.services.work import Work


def has_agent(work: Work) -> bool:
    """Whether the server's image promises an agent."""
    return guest.image_says(work, "hw_qemu_guest_agent")


def require_agent(work: Work) -> None:
    """:raises GuestAgentNotEnabled: the server's image does not promise an agent"""
    if not has_agent(work):
        raise GuestAgentNotEnabled(work.uuid)
