"""The connection to libvirtd: opening, reopening, deadlines, and what its errors mean."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from nova_lite.drivers.hypervisor.libvirt import event_loop
from nova_lite.drivers.hypervisor.libvirt.deadline import Deadline, DeadlineExceeded, TooManyStuck
from nova_lite.errors import (
    DomainNotFound,
    GuestRefused,
    HypervisorError,
    HypervisorTooOld,
    HypervisorUnavailable,
    InvalidBlockDevice,
    NovaLiteError,
)

LOG = logging.getLogger(__name__)
T = TypeVar("T")

# The oldest versions that OpenStack 2025.1 to 2026.2 support.
MIN_LIBVIRT = 8_000_000
MIN_QEMU = 6_002_000

# A libvirtd that answers no ping for INTERVAL * COUNT seconds is given up.
KEEPALIVE_INTERVAL = 5
KEEPALIVE_COUNT = 5

# Seconds that a call may take. Only starting a guest (huge pages are cleared first) and stopping
# one (libvirt waits for QEMU to flush its disks) take long by nature.
CALL_TIMEOUT = 60.0
OPEN_TIMEOUT = 30.0
# Seconds that a call waits for a libvirtd that was there before and restarts, and between looks.
PATIENCE = 10.0
RETRY_DELAY = 0.25

_LOST_DOMAINS = (libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_RPC)
_LOST_CODES = (
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
)


# What libvirt says of a host or of QEMU; XML that it does not understand is our mistake.
_REFUSALS = (
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_OPERATION_DENIED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_SYSTEM_ERROR,
)
# QEMU's own words come as internal errors.
_OF_QEMU = re.compile(r"process exited while connecting|unable to execute QEMU command|qemu-system")
# Which devices disks are was asked for with the server, whatever the host.
_ASKED_FOR = re.compile(r"disk device='\w+' is (?:not supported|only valid)")


def quiet_errors() -> None:
    """Keep libvirt from writing every error to stderr; each one is raised anyway."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)


def is_lost(error: libvirt.libvirtError) -> bool:
    """Whether the error says that the connection is gone."""
    code, domain = error.get_error_code(), error.get_error_domain()
    if code == libvirt.VIR_ERR_INVALID_CONN:
        return True
    return code in _LOST_CODES and domain in _LOST_DOMAINS


def translate(what: str, error: libvirt.libvirtError) -> NovaLiteError:
    """Turn a libvirt error into ours.

    :param what: what was tried, as in "start guest 4f..."
    """
    message = error.get_error_message() or str(error)
    if is_lost(error):
        return HypervisorUnavailable(f"could not {what}: lost connection to libvirt: {message}")
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainNotFound(f"could not {what}: {message}")
    code, text = error.get_error_code(), f"could not {what}: {message}"
    if code == libvirt.VIR_ERR_CONFIG_UNSUPPORTED and _ASKED_FOR.search(message):
        return InvalidBlockDevice(text)
    if code in _REFUSALS or (code == libvirt.VIR_ERR_INTERNAL_ERROR and _OF_QEMU.search(message)):
        return GuestRefused(text)
    return HypervisorError(text)


def format_version(number: int) -> str:
    """libvirt's integers as people write them: 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


class Connection:
    """A connection that reopens itself.

    ``on_open`` is called with every newly opened connection, ``on_lost`` when one breaks (from
    libvirt's event thread, must not block).
    """

    def __init__(
        self,
        uri: str,
        *,
        on_open: Callable[[Any], None] = lambda _: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.uri = uri
        self._on_open = on_open
        self._on_lost = on_lost
        self._deadline = Deadline()
        self._opening = threading.Lock()
        self._marking = threading.Lock()
        self._current: Any = None
        self._was_open = False
        self._closed = False

    @property
    def stuck_calls(self) -> int:
        """Calls into libvirt that were given up and hang."""
        return self._deadline.stuck

    def open(self) -> None:
        """Connect unless connected.

        :raises HypervisorTooOld: libvirt or QEMU are older than 8.0.0 and 6.2.0
        :raises HypervisorUnavailable: libvirtd does not answer
        """
        self._closed = False
        self._connected()

    def reopen(self) -> None:
        """Connect again after a loss; does nothing once closed."""
        if not self._closed:
            self._connected()

    def close(self) -> None:
        """Disconnect; a later call connects again only after ``open``."""
        self._closed = True
        connection, self._current = self._current, None
        if connection is not None:
            self._discard(connection)

    def call(
        self,
        what: str,
        function: Callable[[Any], T],
        timeout: float = CALL_TIMEOUT,
        patience: float = PATIENCE,
    ) -> T:
        """Run ``function(virConnect)``; once more on a new connection when the old one was lost.

        The function must be safe to repeat and look up its domain itself.

        :param what: what is tried, for error messages
        :param timeout: seconds that the call itself may take
        :param patience: seconds to wait for a libvirtd that restarts
        :raises HypervisorUnavailable: libvirtd is away or does not answer in time
        :raises DomainNotFound: libvirt knows no such domain
        :raises HypervisorError: any other refusal; the message is libvirt's
        """
        for last in (False, True):
            connection = self._patiently_connected(patience)
            try:
                return self._run(what, lambda c=connection: function(c), timeout)  # type: ignore[misc]
            except libvirt.libvirtError as error:
                if is_lost(error):
                    self._lost(connection)
                    if not last:
                        LOG.info("Connection to libvirt was lost during: %s; retrying", what)
                        continue
                raise translate(what, error) from error
        raise AssertionError("unreachable")

    def elsewhere(
        self, what: str, uri: str, function: Callable[[Any], T], timeout: float = OPEN_TIMEOUT
    ) -> T:
        """Run ``function(virConnect)`` at another host's libvirtd, once; it may only look there.

        :raises HypervisorUnavailable: that one does not answer, or does not let us in
        """
        event_loop.ensure_started()

        def ask() -> T:
            try:
                connection = libvirt.openReadOnly(uri)
            except libvirt.libvirtError as error:
                message = error.get_error_message() or str(error)
                raise HypervisorUnavailable(f"could not {what}: {message}") from error
            try:
                return function(connection)
            finally:
                connection.close()

        try:
            return self._run(what, ask, timeout)
        except libvirt.libvirtError as error:
            raise translate(what, error) from error

    def _run(self, what: str, function: Callable[[], T], timeout: float) -> T:
        try:
            return self._deadline.run(function, timeout)
        except DeadlineExceeded:
            LOG.error("libvirt did not %s within %g s; %d calls hang", what, timeout,
                      self.stuck_calls)  # fmt: skip
            raise HypervisorUnavailable(
                f"could not {what}: libvirt did not answer within {timeout:g} s"
            ) from None
        except TooManyStuck as error:
            raise HypervisorUnavailable(
                f"could not {what}: {error} in libvirt; look at libvirtd and the host's storage"
            ) from None

    def _patiently_connected(self, patience: float) -> Any:
        deadline = time.monotonic() + (patience if self._was_open else 0.0)
        while True:
            try:
                return self._connected()
            except HypervisorUnavailable:
                if self._closed or time.monotonic() >= deadline:
                    raise
            time.sleep(RETRY_DELAY)

    def _connected(self) -> Any:
        connection = self._current
        if connection is not None:
            return connection
        if not self._opening.acquire(timeout=OPEN_TIMEOUT):
            raise HypervisorUnavailable(f"libvirt at {self.uri} takes too long to connect")
        try:
            if self._closed:
                raise HypervisorUnavailable(f"the connection to libvirt at {self.uri} is closed")
            if self._current is None:
                self._current = connection = self._open()
                self._was_open = True
                if not connection.isAlive():  # its close notice came too early to be believed
                    self._lost(connection)
                return connection
            return self._current
        finally:
            self._opening.release()

    def _open(self) -> Any:
        event_loop.ensure_started()
        quiet_errors()
        what = f"connect to {self.uri}"
        try:
            connection = self._run(what, self._open_checked, OPEN_TIMEOUT)
            self._run(what, lambda: self._on_open(connection), OPEN_TIMEOUT)
        except libvirt.libvirtError as error:
            message = error.get_error_message() or str(error)
            raise HypervisorUnavailable(
                f"cannot connect to libvirt at {self.uri}: {message}; "
                "is libvirtd (or virtqemud) running?"
            ) from error
        LOG.info("Connected to libvirt at %s", self.uri)
        return connection

    def _open_checked(self) -> Any:
        connection = libvirt.open(self.uri)
        check_versions(connection.getLibVersion(), connection.getVersion())
        if connection.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT) != 0:
            LOG.debug("libvirt at %s knows no keepalive", self.uri)
        connection.registerCloseCallback(self._close_callback, None)
        return connection

    def _close_callback(self, connection: Any, reason: int, _opaque: object) -> None:
        reasons = {
            libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "error",
            libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "end of file",
            libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "no answer to keepalive",
            libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed",
        }
        if not self._closed:
            LOG.warning("Lost connection to libvirt: %s", reasons.get(reason, reason))
            self._lost(connection)

    def _lost(self, connection: Any) -> None:
        with self._marking:
            if self._current is not connection:
                return  # noticed before
            self._current = None
        self._on_lost()

    def _discard(self, connection: Any) -> None:
        def discard() -> None:
            connection.unregisterCloseCallback()
            connection.close()

        try:
            self._deadline.run(discard, 5.0)
        except (libvirt.libvirtError, DeadlineExceeded, TooManyStuck) as error:
            LOG.debug("Closing the connection to libvirt: %s", error)


def check_versions(libvirt_version: int, qemu_version: int) -> None:
    """Refuse a libvirt or QEMU older than what OpenStack supports.

    :raises HypervisorTooOld: one of them is
    """
    for name, found, wanted in (
        ("libvirt", libvirt_version, MIN_LIBVIRT),
        ("QEMU", qemu_version, MIN_QEMU),
    ):
        if found < wanted:
            raise HypervisorTooOld(
                f"{name} {format_version(found)} is too old; "
                f"{format_version(wanted)} or newer is needed"
            )
