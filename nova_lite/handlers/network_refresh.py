"""Refreshes of the network cache, from which nova-api shows a server's addresses."""

from __future__ import annotations

import logging
import threading

from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError, ServerNotFound
from nova_lite.services.ownership import Place, place
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)


class NetworkRefresh:
    """Refreshes a server's cache after the operation that runs; requests meanwhile are merged."""

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine
        self._lock = threading.Lock()
        self._asked: set[str] = set()

    def ask(self, context: RequestContext, server_uuid: str, port_id: str | None) -> None:
        """Refresh the network cache of a server."""
        with self._lock:
            if server_uuid in self._asked:
                return
            self._asked.add(server_uuid)
        self._engine.after(
            server_uuid,
            f"network refresh of server {server_uuid}",
            lambda: self._refresh(context, server_uuid),
        )

    def _refresh(self, context: RequestContext, server_uuid: str) -> None:
        with self._lock:
            self._asked.discard(server_uuid)
        tools = self._tools
        try:
            instance = tools.instances.get(context, server_uuid, ("info_cache",))
            if place(instance, tools.host) is not Place.HERE:
                return
            cache = instance.get("info_cache")
            stored = cache.get("network_info", "[]") if cache else "[]"
            known = network_info.load(stored)
            fresh = network_info.dump(tools.ports.refresh(context, server_uuid, known))
            if fresh != network_info.dump(known):
                tools.info_caches.save(context, server_uuid, fresh)
        except ServerNotFound:
            return
        except NovaLiteError as error:
            LOG.warning("Could not refresh the network cache of server %s: %s", server_uuid, error)
