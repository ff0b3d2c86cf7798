"""Asking a running guest to release a device, and waiting until it has."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls, is_invalid
from nova_lite.drivers.hypervisor.libvirt.removals import Removals
from nova_lite.errors import DeviceDetachFailed

LOG = logging.getLogger(__name__)

NO_DEVICE = "ua-nova-lite-none"
# Seconds between looks whether the guest has let go, for the case that libvirt does not tell.
LOOK_INTERVAL = 1.0
SAID_AFTER = 3.0  # seconds of waiting after which the log says what is waited for
REFUSED = "the guest refused to release it; is it in use there?"
# QEMU's words for a request that it has from before, and that the guest may still heed.
_PENDING = ("in the process of unplug", "guest is busy")


class Releases(Calls):
    """What disks and network cards have in common when a guest is to give them back."""

    _conf: Any
    _removals: Removals

    def _release(
        self, uuid: str, what: str, name: str, alias_of: Callable[[Any], str | None]
    ) -> None:
        """Take a device from the running guest, which has to agree.

        :param what: kind and name of the device, for the log; ``name`` for the user
        :param alias_of: libvirt's name of the device that the domain has now, None without it
        :raises DeviceDetachFailed: the guest does not let go
        """
        busy = f"wait for what guest {uuid} is busy with"
        self._with_domain(busy, uuid, lambda domain: _refuse_busy(domain, name))
        attempts, timeout = self._conf.device_detach_attempts, self._conf.device_detach_timeout
        began, said_at = time.monotonic(), SAID_AFTER
        for attempt in range(1, attempts + 1):
            alias = self._alias(uuid, what, alias_of)
            if alias is None:
                return
            LOG.debug("Asking guest %s for %s, %d of %d", uuid, what, attempt, attempts)
            with self._removals.expect(uuid, alias) as answer:
                self._with_domain(
                    f"ask guest {uuid} for {what}", uuid, lambda d: _ask_for(d, name, alias_of)
                )
                deadline = time.monotonic() + timeout
                while (left := deadline - time.monotonic()) > 0:
                    answer.wait(min(left, LOOK_INTERVAL))
                    waited = time.monotonic() - began
                    if self._alias(uuid, what, alias_of) is None:
                        if said_at > SAID_AFTER:
                            LOG.info("Guest %s has released %s after %.0f s", uuid, what, waited)
                        return
                    if answer.refused:
                        raise DeviceDetachFailed(name, REFUSED)
                    if waited >= said_at:
                        _say_what_is_waited_for(uuid, what, waited, attempt, attempts, timeout)
                        said_at = waited + timeout
        raise DeviceDetachFailed(
            name,
            f"the guest did not release it, asked {attempts} times over {attempts * timeout} s; "
            "is its operating system up?",
        )

    def _alias(
        self, uuid: str, what: str, alias_of: Callable[[Any], str | None]
    ) -> str | None:
        return self._with_domain(f"look for {what} of guest {uuid}", uuid, alias_of)


def _say_what_is_waited_for(
    uuid: str, what: str, waited: float, attempt: int, attempts: int, timeout: int
) -> None:
    LOG.info("Waiting for guest %s to release %s for %.0f s (asked %d of %d times, every %d s): "
             "its operating system does that, once it is up",
             uuid, what, waited, attempt, attempts, timeout)  # fmt: skip


def _ask_for(domain: Any, name: str, alias_of: Callable[[Any], str | None]) -> None:
    """Ask the guest to let go of a device, without waiting for its answer."""
    alias = alias_of(domain)
    if alias is None:
        return
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        code, message = error.get_error_code(), error.get_error_message()
        gone = code == libvirt.VIR_ERR_DEVICE_MISSING or is_invalid(error) and not domain.isActive()
        if code == libvirt.VIR_ERR_OPERATION_FAILED and "rejected" in message:
            raise DeviceDetachFailed(name, REFUSED) from None
        if not gone and not any(words in message for words in _PENDING):
            raise


def refuse_saved(domain: Any, name: str) -> None:
    """What a guest had when its memory was saved it needs to go on from there."""
    if not domain.isActive() and domain.hasManagedSaveImage(0):
        raise DeviceDetachFailed(name, "the guest is suspended: resume or stop it first")


def _refuse_busy(domain: Any, name: str) -> None:
    """A device may come yet: plugging it in, given up by an agent, goes on while its storage hangs.

    libvirt serves one such request at a time, so that one about a device that no guest has either
    finds that nothing is under way or does not get through.
    """
    if not domain.isActive():
        return
    try:
        domain.detachDeviceAlias(NO_DEVICE, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise DeviceDetachFailed(
                name,
                "libvirt is still busy with an earlier request to the guest; is the storage of one "
                "of its volumes out of reach?",
            ) from None
