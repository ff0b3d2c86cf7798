"""The periodic report of this host's inventory, with a notification when libvirt is down."""

from __future__ import annotations

from collections.abc import Callable

from nova_lite.errors import HypervisorUnavailable
from nova_lite.failures import Failure
from nova_lite.notifications.notifier import Notifier


class InventoryReport:
    """Calls ``report`` at each tick; ``address`` is [DEFAULT]my_ip."""

    def __init__(self, report: Callable[[], None], notifier: Notifier, address: str) -> None:
        self._report = report
        self._notifier = notifier
        self._address = address

    def tick(self) -> None:
        """:raises HypervisorUnavailable: and other errors of the report"""
        try:
            self._report()
        except HypervisorUnavailable as error:
            self._notifier.libvirt_error(self._address, Failure.of(error))
            raise
