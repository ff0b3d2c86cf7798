"""The periodic report of volume usage of this host's servers."""

from __future__ import annotations

import logging

from nova_lite.errors import ControlPlaneUnavailable, HypervisorUnavailable, NovaLiteError
from nova_lite.model.diagnostics import DiskStats
from nova_lite.model.states import POWERED_OFF
from nova_lite.services import volume_usage
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)


class VolumeUsage:
    """Reports the counters of guests that run; asks the cloud nothing where none has volumes."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def tick(self) -> None:
        """Report all volumes.

        :raises ControlPlaneUnavailable, HypervisorUnavailable: at the next tick, then
        """
        tools, context = self._tools, RequestContext.admin()
        found = {}
        for domain in tools.hypervisor.domains():
            if domain.power_state not in POWERED_OFF:
                if counters := self._counters(domain.uuid):
                    found[domain.uuid] = counters
        if not found:
            return
        for server in tools.instances.by_host(context, tools.host):
            for volume_id, stats in found.get(str(server["uuid"]), {}).items():
                volume_usage.record(tools, context, server, volume_id, stats)

    def _counters(self, server_uuid: str) -> dict[str, DiskStats]:
        try:
            return volume_usage.counters(self._tools, server_uuid)
        except (ControlPlaneUnavailable, HypervisorUnavailable):
            raise
        except NovaLiteError as error:
            LOG.info("No counters of the volumes of server %s: %s", server_uuid, error)
            return {}
