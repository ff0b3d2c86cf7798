"""Steps that need the QEMU guest agent inside the guest."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from nova_lite.errors import (
    AnswerLost,
    DomainNotFound,
    GuestAgentNotEnabled,
    GuestAgentUnresponsive,
    HypervisorError,
    PasswordNotSet,
    PasswordUnsupported,
)
from nova_lite.guest import password
from nova_lite.model.states import PowerState, TaskState
from nova_lite.services.guest_agent import require_agent
from nova_lite.services.notes import PasswordNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import decode

LOG = logging.getLogger(__name__)

# Seconds for which a caller surely waits: a bit less than the default of rpc_response_timeout.
CALLER_PATIENCE = 55.0


def require_caller(work: Work) -> None:
    """:raises AnswerLost: the caller has given up waiting (rpc_response_timeout)"""
    if work.resumed or work.tools.clock.monotonic() - work.arrived > CALLER_PATIENCE:
        raise AnswerLost(
            f"Quiescing of server {work.uuid} took too long for its caller; the guest goes on "
            "writing"
        )


class SetPassword(Step):
    """Set the administrator's password in the guest, and encrypt a copy with the user's key pair.

    After a power failure the password is lost, and the operation fails here.
    """

    name = "set_password"

    def do(self) -> None:
        work, hypervisor = self.work, self.tools.hypervisor
        secret = work.arguments.get("new_pass")
        if secret is None:
            raise PasswordNotSet(work.uuid, "its host lost power before it had it; set it again")
        if hypervisor.power_state(work.uuid) != PowerState.RUNNING:
            raise PasswordNotSet(work.uuid, f"instance {work.uuid} is not running")
        require_agent(work)
        image = decode.image_of_server(work.instance)
        user = password.admin_user(
            image.properties.get("os_admin_user"), work.instance.get("os_type")
        )
        try:
            hypervisor.set_password(work.uuid, user, secret)
        except GuestAgentUnresponsive as error:
            raise PasswordUnsupported(error.message) from None
        except HypervisorError as error:
            # What the guest answers is not for the user's eyes, and not with the password in it.
            LOG.error("%s", error.message.replace(secret, "***"))
            raise PasswordNotSet(work.uuid, "error setting admin password") from None
        self._seal(secret)

    def _seal(self, secret: str) -> None:
        key = self.work.instance.get("key_data") or ""
        if not key.startswith("ssh-rsa"):
            return
        try:
            self.work.note(sealed_password=password.readable_with(key, secret))
        except ValueError:
            LOG.warning("The metadata service cannot tell the new password of server %s: its key "
                        "pair cannot be used to encrypt it", self.work.uuid)  # fmt: skip


class ReportPassword(Step):
    """Clear the task state, and save the encrypted password for the metadata service."""

    name = "report_password"

    def do(self) -> None:
        work = self.work
        fields: dict[str, Any] = {"task_state": None}
        sealed = PasswordNotes.of(work.notes).sealed_password
        if sealed is not None:
            system_metadata = dict(work.instance.get("system_metadata", {}))
            fields["system_metadata"] = {**system_metadata, **sealed}
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.UPDATING_PASSWORD, None],
            **fields,
        )


class FreezeGuest(Step):
    """Freeze the guest's file systems (guest-fsfreeze-freeze)."""

    name = "freeze_guest"

    def do(self) -> None:
        self.tools.hypervisor.freeze(self.work.uuid)

    def undo(self) -> None:
        with contextlib.suppress(GuestAgentNotEnabled, GuestAgentUnresponsive, DomainNotFound):
            self.tools.hypervisor.thaw(self.work.uuid)


class KeepFrozen(Step):
    """Fail, which thaws the guest, if the caller no longer waits: nobody would thaw it later."""

    name = "keep_frozen"

    def do(self) -> None:
        require_caller(self.work)


class ThawGuest(Step):
    """Thaw the guest's file systems."""

    name = "thaw_guest"

    def do(self) -> None:
        self.tools.hypervisor.thaw(self.work.uuid)
