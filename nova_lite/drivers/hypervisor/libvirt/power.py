"""Starting, stopping and holding guests."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import cpu_power, live_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find, is_invalid
from nova_lite.drivers.hypervisor.libvirt.cpu_power import CpuPower
from nova_lite.drivers.hypervisor.libvirt.states import OFF_STATES
from nova_lite.errors import (
    CrashDumpUnsupported,
    GuestNotRunning,
    NovaLiteError,
    VolumeUnusable,
)

LOG = logging.getLogger(__name__)

# Starting clears huge pages and waits for storage; stopping lets QEMU flush its disks, and libvirt
# itself waits 30 s and more for a process that does not die. Memory is written and read at the
# speed of the host's disk.
START_TIMEOUT = 300.0
DESTROY_TIMEOUT = 120.0
MEMORY_TIMEOUT = 3600.0
DESTROY_ATTEMPTS = 3
# QEMU reports a while after the guest goes on that its agent is there again.
AGENT_PATIENCE = 5.0
AGENT_PAUSE = 0.2
REST_ATTEMPTS = 3  # to find a moment in which no guest is started
# Why most guests' clocks cannot be set; anything else deserves a look.
NO_AGENT = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
)


# How QEMU, and libvirt before it, say which disk cannot be opened, and why.
_CANNOT_OPEN = re.compile(r"(?:-blockdev|storage file) (\{.*\}|'[^']*')(?: \(.*?\))?: (.+)")


class Power(Calls):
    """The part of the Hypervisor contract that changes a guest's power state.

    ``_cpu_power`` is None where dedicated CPUs are always up.
    """

    _cpu_power: CpuPower | None

    def start(self, uuid: str, *, paused: bool = False) -> None:
        # Memory that was saved belongs to a guest as it was before; restore is for that.
        flags = libvirt.VIR_DOMAIN_START_FORCE_BOOT
        if paused:
            flags |= libvirt.VIR_DOMAIN_START_PAUSED

        def start(domain: Any) -> None:
            try:
                with self._cpus_up(domain):
                    _create(domain, flags)
            except libvirt.libvirtError as error:
                _blame_volume(domain, error.get_error_message())
                raise

        self._with_domain(f"start guest {uuid}", uuid, start, START_TIMEOUT)

    def pause(self, uuid: str) -> None:
        def pause(domain: Any) -> None:
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                _while_running(domain, domain.suspend)

        self._with_domain(f"pause guest {uuid}", uuid, pause)

    def resume(self, uuid: str) -> None:
        self._with_domain(f"resume guest {uuid}", uuid, _resume)

    def sync_time(self, uuid: str, patience: float = 0.0) -> None:
        """As the contract says.

        :param patience: seconds in which the channel to the guest's agent may come up
        """
        try:
            self._with_domain(
                f"set the clock of guest {uuid}", uuid, lambda domain: _set_clock(domain, patience)
            )
        except NovaLiteError as error:  # the guest runs; that counts
            LOG.warning("The clock of guest %s stays as it is: %s", uuid, error)

    def save(self, uuid: str) -> None:
        def save(domain: Any) -> None:
            while domain.isActive():
                try:
                    domain.managedSave(0)
                except libvirt.libvirtError as error:
                    # An earlier request, of an agent since killed, may just have come to its end.
                    if not _is_busy(error) and domain.isActive():
                        raise
            if not domain.hasManagedSaveImage(0):
                raise GuestNotRunning(f"Instance {uuid} is not running: it has no memory to save")

        self._with_domain(f"save guest {uuid}", uuid, save, MEMORY_TIMEOUT)

    def saved(self, uuid: str) -> bool:
        return self._with_domain(
            f"look for the saved memory of guest {uuid}",
            uuid,
            lambda domain: not domain.isActive() and bool(domain.hasManagedSaveImage(0)),
        )

    def restore(self, uuid: str) -> None:
        def restore(domain: Any) -> None:
            with self._cpus_up(domain):
                _create(domain, 0)
            deadline = time.monotonic() + MEMORY_TIMEOUT
            while True:
                try:
                    _resume(domain)
                    break
                except libvirt.libvirtError as error:
                    if not _is_busy(error) or time.monotonic() > deadline:
                        raise

        self._with_domain(f"restore guest {uuid}", uuid, restore, MEMORY_TIMEOUT)
        self.sync_time(uuid, AGENT_PATIENCE)

    def wake_cpus(self) -> None:
        if self._cpu_power is not None:
            self._cpu_power.wake()

    def expect_guest(self, uuid: str, cpus: frozenset[int]) -> None:
        if self._cpu_power is not None:
            self._cpu_power.expect(uuid, cpus)

    def rest_cpus(self) -> None:
        power = self._cpu_power
        if power is None:
            return

        def used(connection: Any) -> frozenset[int]:
            running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return frozenset[int]().union(*map(_pinned, running))

        for _ in range(REST_ATTEMPTS):
            starts = power.starts()
            if power.rest(self._call("look for CPUs in use", used), starts):
                return

    def _cpus_up(self, domain: Any) -> AbstractContextManager[None]:
        """Power the CPUs up that a guest is pinned to, for its start."""
        if self._cpu_power is None:
            return nullcontext()
        return self._cpu_power.held(_pinned(domain))

    def inject_nmi(self, uuid: str) -> None:
        def inject(domain: Any) -> None:
            try:
                _while_running(domain, lambda: domain.injectNMI(0))
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                    raise CrashDumpUnsupported(
                        f"guests of this kind have no NMI: {error.get_error_message()}"
                    ) from None
                raise

        self._with_domain(f"send an NMI to guest {uuid}", uuid, inject)

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


def _pinned(domain: Any) -> frozenset[int]:
    """The host CPUs that a guest is pinned to; none of one that is gone by now."""
    try:
        return cpu_power.pinned(domain.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return frozenset()
        raise


def _create(domain: Any, flags: int) -> None:
    """Start a domain that is off."""
    try:
        if not domain.isActive():
            domain.createWithFlags(flags)
    except libvirt.libvirtError as error:
        # Somebody else was faster: that is what was asked for.
        if not (is_invalid(error) and domain.isActive()):
            raise


def _blame_volume(domain: Any, message: str) -> None:
    """Raise VolumeUnusable where the message names a volume."""
    found = _CANNOT_OPEN.search(message)
    if found is None:
        return
    asked, reason = found.groups()
    for disk in live_xml.disks(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)):
        name = disk.source.rpartition("/")[2]
        if disk.serial and (f'{name}"' in asked or f"{name}'" in asked):
            raise VolumeUnusable(disk.serial, disk.target, reason.strip())


def _resume(domain: Any) -> None:
    try:
        if not _runs(domain):
            _while_running(domain, domain.resume)
    except libvirt.libvirtError as error:
        # An earlier request, of an agent since killed, may just have come to its end.
        if not (is_invalid(error) and _runs(domain)):
            raise


def _runs(domain: Any) -> bool:
    return bool(domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING)


def _while_running(domain: Any, act: Callable[[], object]) -> None:
    """Do what can be done to a running guest only."""
    try:
        act()
    except libvirt.libvirtError as error:
        if is_invalid(error) and not domain.isActive():
            raise GuestNotRunning(f"Instance {domain.UUIDString()} is not running.") from None
        raise


def _is_busy(error: libvirt.libvirtError) -> bool:
    """Another job has the guest, such as one that an agent since killed had asked for.

    libvirt itself waits for it for half a minute.
    """
    return bool(error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT)


def _set_clock(domain: Any, patience: float) -> None:
    """Tell the guest how late it is, if its agent listens within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        try:
            domain.setTime({"seconds": seconds, "nseconds": nanoseconds}, 0)
            return
        except libvirt.libvirtError as error:
            if _is_unresponsive(error) and time.monotonic() < deadline:
                time.sleep(AGENT_PAUSE)
                continue
            level = logging.DEBUG if error.get_error_code() in NO_AGENT else logging.WARNING
            LOG.log(level, "The clock of guest %s stays as it is: %s",
                    domain.UUIDString(), error.get_error_message())  # fmt: skip
            return


def _is_unresponsive(error: libvirt.libvirtError) -> bool:
    """The guest has a channel for an agent, and nobody is at its other end, or not yet."""
    return bool(error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE)


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
