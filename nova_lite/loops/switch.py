"""A host whose switch is dead takes no new servers until it is back.

As stock does it while libvirt is away: the service record says so with a reason that begins with
``AUTO:``, and only a record with such a reason is enabled again. What an operator disabled stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nova_lite.conductor.services import Services
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import SwitchUnavailable
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

INTERVAL_S = 5.0  # seconds between two looks
LOOKS = 2  # that find it dead, one after the other: a daemon that is started again is not reported
AUTO = "AUTO: "  # how stock, too, begins the reason of what it will enable again by itself
REASON = AUTO + "Open vSwitch does not answer"


class SwitchWatch:
    """Looks whether ports can be plugged, and disables and enables the host for the scheduler.

    :param driver: asked every few seconds
    :param service: the Service record as it was when the host joined
    :param set_disabled: tells Placement, as ``Toolbox.set_disabled``
    :param returned: called when the switch is back
    :param needed: whether the host has servers with ports on the switch; one that has never shown
        that it uses a switch is not disabled for want of it
    """

    def __init__(
        self,
        driver: VifDriver,
        services: Services,
        service: WireObject,
        set_disabled: Callable[[bool], None],
        returned: Callable[[], None] = lambda: None,
        *,
        needed: bool = False,
    ) -> None:
        self._driver = driver
        self._services = services
        self._host = str(service["host"])
        self._set_disabled = set_disabled
        self._returned = returned
        disabled = bool(service.get("disabled"))
        reason = str(service.get("disabled_reason") or "")
        self._needed = needed or (disabled and reason.startswith(REASON))
        self._dead_looks = 0
        # None: an earlier process has left it disabled.
        self._dead: bool | None = None if disabled and reason.startswith(AUTO) else False

    def tick(self) -> None:
        """:raises ControlPlaneUnavailable: it could not be told; the next look does it"""
        try:
            self._driver.check()
        except SwitchUnavailable as error:
            self._needed = self._needed or self._driver.uses_switch
            self._dead_looks += 1
            if self._needed and not self._dead and self._dead_looks >= LOOKS:
                self._went(error)
            return
        self._dead_looks = 0
        if self._driver.uses_switch and self._dead is not False:
            self._came_back()

    def _went(self, error: SwitchUnavailable) -> None:
        LOG.error("No port can be plugged on this host, which takes no new servers until that "
                  "changes: %s", error.message)  # fmt: skip
        service = self._record()
        if service is not None and not service.get("disabled"):
            context = RequestContext.admin()
            self._services.save(context, service, disabled=True, disabled_reason=REASON)
        self._set_disabled(True)
        self._dead = True

    def _came_back(self) -> None:
        service = self._record()
        if service is not None:
            reason = str(service.get("disabled_reason") or "")
            if service.get("disabled") and reason.startswith(AUTO):
                context = RequestContext.admin()
                self._services.save(context, service, disabled=False, disabled_reason=None)
            self._set_disabled(bool(service.get("disabled")))
        LOG.warning("Open vSwitch answers again%s", _whether_enabled(service))
        self._dead = False
        self._returned()

    def _record(self) -> WireObject | None:
        """The record as it is now: an operator may have changed it."""
        return self._services.of_host(RequestContext.admin(), self._host)


def use_a_switch(instances: Iterable[WireObject]) -> bool:
    """Whether servers, by their network caches, have ports on the host's switch."""
    for instance in instances:
        # One that cannot be read is no matter here: whatever is done with the server says it.
        vifs = network_info.readable(instance) or ()
        if any(vif.vif_type == "ovs" or vif.details.get("vhostuser_ovs_plug") for vif in vifs):
            return True
    return False


def _whether_enabled(service: WireObject | None) -> str:
    if service is not None and service.get("disabled"):
        return "; the host stays disabled, as its operator wants it"
    return "; the host takes new servers"
