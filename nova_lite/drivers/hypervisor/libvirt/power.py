"""Starting, stopping and holding guests."""

from __future__ import annotations

import errno
import logging
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find, is_invalid
from nova_lite.drivers.hypervisor.libvirt.states import OFF_STATES

LOG = logging.getLogger(__name__)

# Starting clears huge pages and waits for storage; stopping lets QEMU flush its disks, and libvirt
# itself waits 30 s and more for a process that does not die.
START_TIMEOUT = 300.0
DESTROY_TIMEOUT = 120.0
DESTROY_ATTEMPTS = 3


class Power(Calls):
    """The part of the Hypervisor contract that changes a guest's power state."""

    def start(self, uuid: str, *, paused: bool = False) -> None:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

        def start(domain: Any) -> None:
            try:
                if not domain.isActive():
                    domain.createWithFlags(flags)
            except libvirt.libvirtError as error:
                # Somebody else was faster: that is what was asked for.
                if not (is_invalid(error) and domain.isActive()):
                    raise

        self._with_domain(f"start guest {uuid}", uuid, start, START_TIMEOUT)

    def resume(self, uuid: str) -> None:
        def resume(domain: Any) -> None:
            if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                domain.resume()

        self._with_domain(f"resume guest {uuid}", uuid, resume)

    def shutdown(self, uuid: str) -> None:
        def shutdown(domain: Any) -> None:
            try:
                if domain.isActive():
                    domain.shutdown()
            except libvirt.libvirtError as error:
                if not (is_invalid(error) and not domain.isActive()):
                    raise

        self._with_domain(f"shut guest {uuid} down", uuid, shutdown)

    def destroy(self, uuid: str) -> None:
        def destroy(connection: Any) -> None:
            domain = find(connection, uuid)
            if domain is not None:
                _destroy(domain)

        self._call(f"power guest {uuid} off", destroy, DESTROY_TIMEOUT)


def _destroy(domain: Any) -> None:
    """Cut the power; a QEMU in uninterruptible I/O gets a few chances to die."""
    for attempt in range(1, DESTROY_ATTEMPTS + 1):
        try:
            if domain.state()[0] in OFF_STATES:
                return
            domain.destroy()
            return
        except libvirt.libvirtError as error:
            if is_invalid(error):
                return  # it went off by itself
            busy = (
                error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR
                and error.get_int1() == errno.EBUSY
            )
            if not busy or attempt == DESTROY_ATTEMPTS:
                raise
            LOG.warning("QEMU of guest %s does not die; trying again", domain.UUIDString())
