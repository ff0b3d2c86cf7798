"""Block device mappings that an attach has left which its caller did not wait for.

A verb on the server removes them as well (``services/abandoned.py``); until then nova-api lets
nobody attach the volume, so that the user may have no reason to ask for a verb.
"""

from __future__ import annotations

import logging

from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError
from nova_lite.services.abandoned import is_abandoned
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

INTERVAL_S = 1800.0


class AbandonedMappings:
    """Looks at the mappings of all servers of this host."""

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine

    def tick(self) -> None:
        """Remove those that nobody goes on with: two conductor calls, and one of Cinder for each
        mapping that looks like it.

        :raises ControlPlaneUnavailable: nobody can be asked now
        """
        context = RequestContext.admin()
        servers = self._tools.instances.uuids_of_host(context, self._tools.host)
        if not servers:
            return
        for mapping in self._tools.block_devices.of_servers(context, servers):
            server, volume = mapping["instance_uuid"], mapping.get("volume_id")
            if self._engine.busy(str(server)):
                continue
            try:
                if not is_abandoned(self._tools.cinder, context, mapping):
                    continue
            except NovaLiteError as error:
                LOG.info("Whether volume %s is to be attached to server %s cannot be told: %s",
                         volume, server, error)  # fmt: skip
                continue
            LOG.warning("Server %s has a mapping of volume %s that was never attached; removing it",
                        server, volume)  # fmt: skip
            self._tools.block_devices.destroy(context, mapping)
