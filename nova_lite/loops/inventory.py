"""The report of what this host has; a hypervisor that does not answer it is told to the world."""

from __future__ import annotations

from collections.abc import Callable

from nova_lite.errors import HypervisorUnavailable
from nova_lite.failures import Failure
from nova_lite.notifications.notifier import Notifier


class InventoryReport:
    """``report`` is done at each tick; ``address`` is [DEFAULT]my_ip."""

    def __init__(self, report: Callable[[], None], notifier: Notifier, address: str) -> None:
        self._report = report
        self._notifier = notifier
        self._address = address

    def tick(self) -> None:
        """:raises HypervisorUnavailable: and whatever else the report met"""
        try:
            self._report()
        except HypervisorUnavailable as error:
            self._notifier.libvirt_error(self._address, Failure.of(error))
            raise
