"""Refreshes of the network cache, from which nova-api shows a server's addresses."""

from __future__ import annotations

import logging
import threading

from nova_lite.engine.engine import Engine
from nova_lite.errors import JournalError, NovaLiteError, ServerNotFound
from nova_lite.model.states import TaskState
from nova_lite.services.ownership import Place, place
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class DeletedPorts:
    """Has the interfaces of ports that were deleted taken from their servers."""

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine

    def detach(self, context: RequestContext, instance: WireObject, port_id: str) -> None:
        """Begin it for a server of this host, unless that is being deleted with all it has.

        Where the journal cannot be written, the interface stays until the next start of the guest.
        """
        if self._tools.ownership.place(instance) is not Place.HERE:
            return
        if instance.get("task_state") == TaskState.DELETING:
            return
        uuid = str(instance["uuid"])
        arguments = {"instance": instance, "port_id": port_id}
        try:
            self._engine.begin("detach_deleted_port", context, uuid, arguments)
        except JournalError as error:
            LOG.error("Cannot begin to detach deleted port %s from server %s: %s",
                      port_id, uuid, error)  # fmt: skip


class NetworkRefresh:
    """Refreshes a server's cache after the operation that runs; requests meanwhile are merged.

    A port that was deleted stays in the cache until its interface is unplugged; one that the server
    has no more for other reasons leaves it at once.
    """

    def __init__(self, tools: Toolbox, engine: Engine) -> None:
        self._tools = tools
        self._engine = engine
        self._deleted = DeletedPorts(tools, engine)
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
            known = network_info.cached(instance)
            current = tools.ports.refresh(context, server_uuid, known)
            missing = {vif.id for vif in known} - {vif.id for vif in current}
            gone = tools.ports.gone(context, missing)
            fresh = network_info.dump([*current, *(vif for vif in known if vif.id in gone)])
            if fresh != network_info.dump(known):
                tools.info_caches.save(context, server_uuid, fresh)
            for port_id in sorted(gone):
                self._deleted.detach(context, instance, port_id)
        except ServerNotFound:
            return
        except NovaLiteError as error:
            LOG.warning("Could not refresh the network cache of server %s: %s", server_uuid, error)
