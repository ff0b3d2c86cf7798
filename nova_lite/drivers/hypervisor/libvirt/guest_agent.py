"""What is asked of the qemu-guest-agent inside a guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.errors import GuestAgentNotEnabled, GuestAgentUnresponsive

# Seconds that the agent may take for one command: whoever waits for the answer of an RPC call does
# so for 60 s, and a freeze that fails is followed by a thaw. libvirt itself would wait for ever.
AGENT_PATIENCE = 25
CALL_TIMEOUT = AGENT_PATIENCE + 15.0

# How an agent that has frozen its guest refuses a second freeze.
_FROZEN = "frozen state"


class GuestAgent(Calls):
    """The part of the Hypervisor contract that needs a program inside the guest."""

    def freeze(self, uuid: str) -> None:
        def freeze(domain: Any) -> None:
            try:
                domain.fsFreeze()
            except libvirt.libvirtError as error:
                if _FROZEN not in str(error):
                    raise

        self._ask(f"freeze the file systems of guest {uuid}", uuid, freeze)

    def thaw(self, uuid: str) -> None:
        self._ask(f"thaw the file systems of guest {uuid}", uuid, lambda d: d.fsThaw())

    def set_password(self, uuid: str, user: str, password: str) -> None:
        self._ask(
            f"set the password of {user} in guest {uuid}",
            uuid,
            lambda domain: domain.setUserPassword(user, password, 0),
        )

    def _ask(self, what: str, uuid: str, function: Callable[[Any], object]) -> None:
        def ask(domain: Any) -> None:
            try:
                domain.agentSetResponseTimeout(AGENT_PATIENCE, 0)
                function(domain)
            except libvirt.libvirtError as error:
                raise _translated(error, what, uuid) from None

        self._with_domain(what, uuid, ask, CALL_TIMEOUT)


def _translated(error: libvirt.libvirtError, what: str, uuid: str) -> Exception:
    code = error.get_error_code()
    if code == libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
        return GuestAgentUnresponsive(
            f"could not {what}: its QEMU guest agent does not answer; is qemu-guest-agent running "
            "in it?"
        )
    if code in (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
        return GuestAgentNotEnabled(uuid)
    return error
