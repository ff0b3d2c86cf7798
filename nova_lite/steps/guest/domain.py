"""Steps that define, start, stop and remove the guest."""

from __future__ import annotations

import logging

from nova_lite.errors import (
    DomainNotFound,
    HypervisorError,
    HypervisorUnavailable,
    PowerOffFailure,
)
from nova_lite.model.states import NOT_ON, PowerState
from nova_lite.services import tpm
from nova_lite.services.definable import refuse_to_replace
from nova_lite.services.guest import require_definable, wanted_guest
from nova_lite.services.notes import GuestNotes, PortNotes
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)


class CheckGuest(Step):
    """Refuse to define the guest anew without devices that it has, before it is touched."""

    name = "check_guest"

    def do(self) -> None:
        check(self.work)


def check(work: Work) -> None:
    """Refuse a guest that this agent cannot define as it is to be, and as it is.

    :raises UnsupportedByHost: see ``services.definable``
    :raises TpmKeyUnavailable: it could not be started again
    """
    require_definable(work)
    refuse_to_replace(work.tools.hypervisor, work.uuid)
    tpm.require_key(work)


class DefineGuest(Step):
    """Define the guest in the hypervisor."""

    name = "define_guest"
    exclusive = True

    def do(self) -> None:
        tpm.ensure_key(self.work)
        spec, registered = wanted_guest(self.work)
        self.tools.hypervisor.define(spec)
        if registered != GuestNotes.of(self.work.notes).registered:
            self.work.note(registered=registered)

    def undo(self) -> None:
        remove(self.work)


class StartGuest(Step):
    """Start the guest, paused while a port is not wired up yet: its first packets would be lost.

    :param pause_for_ports: whether a WaitForPorts follows, which resumes the guest
    """

    name = "start_guest"
    exclusive = True

    def __init__(self, work: Work, *, pause_for_ports: bool = True) -> None:
        super().__init__(work)
        self._pause_for_ports = pause_for_ports

    def do(self) -> None:
        paused = self._pause_for_ports and bool(PortNotes.of(self.work.notes).await_ports)
        with tpm.unlocked(self.work):
            self.tools.hypervisor.start(self.work.uuid, paused=paused)

    def undo(self) -> None:
        self.tools.hypervisor.destroy(self.work.uuid)


class PauseGuest(Step):
    """Pause the guest's vCPUs."""

    name = "pause_guest"

    def do(self) -> None:
        self.tools.hypervisor.pause(self.work.uuid)


class UnpauseGuest(Step):
    """Resume the guest's vCPUs, and have its clock set."""

    name = "unpause_guest"

    def done(self) -> bool:
        """After a power failure, the end of the unpause may be recorded already; whether the guest
        is started again is then for the start of the host to say."""
        return self.work.rebooted and self.work.instance.get("task_state") is None

    def do(self) -> None:
        self.tools.hypervisor.resume(self.work.uuid)
        self.tools.hypervisor.sync_time(self.work.uuid)


class SaveGuest(Step):
    """Save the guest's memory to the host's disk and stop the guest (managed save)."""

    name = "save_guest"

    def do(self) -> None:
        self.tools.hypervisor.save(self.work.uuid)


class RestoreGuest(Step):
    """Resume the guest from its saved memory; one that was undefined meanwhile boots instead."""

    name = "restore_guest"

    def do(self) -> None:
        hypervisor, uuid = self.tools.hypervisor, self.work.uuid
        with tpm.unlocked(self.work):
            try:
                hypervisor.restore(uuid)
            except DomainNotFound:
                LOG.warning("Server %s has no guest any more, thus no saved memory; booting it",
                            uuid)  # fmt: skip
                spec, _ = wanted_guest(self.work)
                hypervisor.define(spec)
                hypervisor.start(uuid)


class InjectNmi(Step):
    """Send the guest a non-maskable interrupt, once."""

    name = "inject_nmi"

    def done(self) -> bool:
        return True  # it may have been sent

    def do(self) -> None:
        try:
            self.tools.hypervisor.inject_nmi(self.work.uuid)
        except HypervisorUnavailable as error:
            raise HypervisorError(f"{error.message}; it is not tried again") from error


class PowerOff(Step):
    """Ask the guest to power off if ``gracefully``, and cut the power when it does not."""

    name = "power_off"

    def __init__(self, work: Work, *, gracefully: bool) -> None:
        super().__init__(work)
        self._gracefully = gracefully

    def do(self) -> None:
        hypervisor, uuid = self.tools.hypervisor, self.work.uuid
        try:
            if self._gracefully and ask_to_power_off(self.work, self._patience()):
                return
            hypervisor.destroy(uuid)
            state = hypervisor.power_state(uuid)
        except DomainNotFound:
            return
        if state not in NOT_ON:
            raise PowerOffFailure(f"Failed to power off instance {uuid}: the hypervisor still "
                                  f"reports it as {state.name.lower()}")  # fmt: skip

    def _patience(self) -> float:
        """Seconds to wait: the image may ask for more than the configuration."""
        configured = float(self.tools.conf.shutdown_timeout)
        asked = self.work.instance.get("system_metadata", {}).get("image_os_shutdown_timeout")
        try:
            return float(asked) if asked else configured
        except ValueError:
            LOG.warning("Image property os_shutdown_timeout of server %s is %r, not a number",
                        self.work.uuid, asked)  # fmt: skip
            return configured


class SoftPowerOff(Step):
    """First half of a soft reboot: the guest shuts itself down, or has its power cut."""

    name = "soft_power_off"

    def do(self) -> None:
        patience = float(self.tools.conf.libvirt.wait_soft_reboot_seconds)
        try:
            if not ask_to_power_off(self.work, patience):
                LOG.warning("Server %s did not shut down within %d s; rebooting it hard",
                            self.work.uuid, patience)  # fmt: skip
                self.tools.hypervisor.destroy(self.work.uuid)
        except DomainNotFound:
            return


class RemoveGuest(Step):
    """Destroy and undefine the guest."""

    name = "remove_guest"

    def do(self) -> None:
        remove(self.work)


def remove(work: Work) -> None:
    """Destroy and undefine the guest of a server, if there is one, with what opens its TPM."""
    work.tools.hypervisor.destroy(work.uuid)
    work.tools.hypervisor.undefine(work.uuid)
    tpm.leave(work)
    work.tools.serial_ports.forget(work.uuid)


def forget_variables(work: Work) -> None:
    """Remove what the firmware of a guest remembered that has left while it ran, or that was about
    to come: a hypervisor that does not know the guest leaves that."""
    work.tools.hypervisor.forget_nvram(work.uuid, work.server.domain_name)


def ask_to_power_off(work: Work, patience: float) -> bool:
    """Send ACPI shutdowns until the guest is off; False after ``patience`` seconds."""
    hypervisor, clock, uuid = work.tools.hypervisor, work.tools.clock, work.uuid
    again = float(work.tools.conf.compute.shutdown_retry_interval)
    deadline, ask_at = clock.monotonic() + patience, 0.0
    while (now := clock.monotonic()) < deadline:
        state = hypervisor.power_state(uuid)
        if state in NOT_ON:
            return True
        if state != PowerState.RUNNING:
            return False  # a paused guest cannot handle it
        if now >= ask_at:
            hypervisor.shutdown(uuid)
            ask_at = now + again
        if clock.wait(work.cancelled, work.tools.pace.power_off_poll):
            raise Interrupted
    return hypervisor.power_state(uuid) in NOT_ON
