"""Compares the network caches of this host's servers with Neutron; those that differ are healed.

Neutron tells of what changes, so once is enough: after the start, and after an outage, for events
may have been lost meanwhile. [DEFAULT]heal_instance_info_cache_interval repeats it for network
backends that send no events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_lite.loops.timer import Timer
from nova_lite.services.port_changes import heals
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

FIRST_S = 20.0  # seconds after the start: events that waited at the broker are taken in by then
AGAIN_S = 60.0  # seconds until it is tried again where somebody did not answer


class NetworkCaches:
    """Finds the servers whose caches do not show what Neutron has.

    :param heal: called with the uuid of each
    """

    def __init__(self, tools: Toolbox, heal: Callable[[str], None]) -> None:
        self._tools = tools
        self._heal = heal
        self._every = float(tools.conf.heal_instance_info_cache_interval)
        self._due = True
        self.timer = Timer(
            "network caches", self.tick, self._every if self._every > 0 else AGAIN_S, first=FIRST_S
        )

    def look_again(self) -> None:
        """Events may have been lost: compare once more."""
        self._due = True
        self.timer.poke()

    def tick(self) -> None:
        """One call of the conductor, and one of Neutron for 100 servers and for 100 ports.

        :raises ControlPlaneUnavailable, NetworkUnavailable: at the next tick, then
        """
        if not self._due and self._every <= 0:
            return
        tools, context = self._tools, RequestContext.admin()
        servers = tools.instances.by_host(context, tools.host, ("info_cache",))
        caches = {str(one["uuid"]): network_info.readable(one) for one in servers if heals(one)}
        found = tools.ports.changed(context, caches, tools.host) if caches else ()
        for uuid in sorted(found):
            LOG.info("The network cache of server %s is not as Neutron has its ports", uuid)
            self._heal(uuid)
        self._due = False
