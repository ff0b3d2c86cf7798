"""Block device mappings that an attach has left which its caller did not wait for.

A verb on the server removes them as well (``services/abandoned.py``); until then nova-api lets
nobody attach the volume, so that the user may have no reason to ask for a verb.
"""

from __future__ import annotations

from nova_lite.engine.engine import Engine
from nova_lite.services.abandoned import removed
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

INTERVAL_S = 1800.0


class AbandonedMappings:
    """Looks at the mappings of all servers of this host."""

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine

    def tick(self) -> None:
        """Remove those that nobody goes on with: one conductor call, and one of Cinder for each
        mapping that looks like it.

        :raises ControlPlaneUnavailable: nobody can be asked now
        """
        context = RequestContext.admin()
        servers = self._tools.claims.here()
        if not servers:
            return
        cinder, mappings = self._tools.cinder, self._tools.block_devices
        for mapping in mappings.of_servers(context, sorted(servers)):
            if not self._engine.busy(str(mapping["instance_uuid"])):
                removed(cinder, mappings, context, mapping)
