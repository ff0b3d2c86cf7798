"""Refreshes of the network cache, from which nova-api shows a server's addresses."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

from nova_lite.conductor.instances import EVERYTHING
from nova_lite.engine.engine import Engine
from nova_lite.errors import JournalError, MalformedMessage, NovaLiteError, ServerNotFound
from nova_lite.model.network import Vif
from nova_lite.model.states import REBUILDING_TASKS, TaskState, VmState
from nova_lite.services.interfaces import found_again
from nova_lite.services.ownership import Place, place
from nova_lite.services.port_bindings import UNBOUND
from nova_lite.services.port_changes import heals
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire import decode, network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# States of servers that keep a guest, and ports that are bound, on their host.
WITH_GUEST = (
    VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.RESCUED,
)  # fmt: skip


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


@dataclass
class Asked:
    """What the requests that wait for one refresh want: ports that have changed, or a cache that is
    made anew from all ports that the server has in Neutron."""

    ports: set[str] = field(default_factory=set)
    anew: bool = False


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
        self._asked: dict[str, Asked] = {}

    def changed(self, context: RequestContext, instance: WireObject, port_id: str | None) -> None:
        """Take in that a port of a server has changed.

        Both hosts of a move hear of it; one that does not have the server, and does nothing with
        it, has nothing to refresh. What brings a server here reads its ports when the record names
        this host, so that it sees what the event is about; only an evacuation does so before.

        :param instance: as nova-api has read it for the event
        """
        uuid, tools = str(instance["uuid"]), self._tools
        apart = tools.ownership.place(instance) is Place.ELSEWHERE
        evacuated = instance.get("task_state") in REBUILDING_TASKS
        if apart and not evacuated and not self._engine.busy(uuid):
            return
        self.ask(context, uuid, port_id)

    def ask(self, context: RequestContext, server_uuid: str, port_id: str | None) -> None:
        """Refresh the network cache of a server.

        :param port_id: a port that is added to the cache, as in stock, where the server has got it
            behind Nova's back
        """
        self._ask(context, server_uuid, Asked({port_id} if port_id else set()))

    def heal(self, server_uuid: str) -> None:
        """Make the network cache of a server anew, and bind ports of it that are not bound here.

        Does what nova-compute does with [DEFAULT]heal_instance_info_cache_interval.
        """
        self._ask(RequestContext.admin(), server_uuid, Asked(anew=True))

    def _ask(self, context: RequestContext, server_uuid: str, asked: Asked) -> None:
        with self._lock:
            waiting = self._asked.get(server_uuid)
            if waiting is not None:
                waiting.ports |= asked.ports
                waiting.anew |= asked.anew
                return
            self._asked[server_uuid] = asked
        self._engine.after(
            server_uuid,
            f"network refresh of server {server_uuid}",
            lambda: self._refresh(context, server_uuid),
        )

    def _refresh(self, context: RequestContext, server_uuid: str) -> None:
        with self._lock:
            asked = self._asked.pop(server_uuid)
        tools = self._tools
        try:
            saved = None if asked.anew else self._saved(server_uuid)
            found = None if saved is None else self._found(context, server_uuid, saved, asked)
            if saved is not None and _same(found, saved):
                return
            attrs = EVERYTHING if asked.anew else ("info_cache",)
            instance = tools.instances.get(context, server_uuid, attrs)
            if place(instance, tools.host) is not Place.HERE:
                return
            if asked.anew and not heals(instance):
                return
            known = cached(instance)
            if found is None or not _same(known, saved):
                found = self._current(context, instance, known or [], asked)
            current = self._with_new(context, instance, found, {vif.id for vif in known or ()})
            missing = {vif.id for vif in known or ()} - {vif.id for vif in current}
            gone = tools.ports.gone(context, missing)
            lost = [vif for vif in known or () if vif.id in gone]
            fresh = network_info.dump([*current, *lost])
            if known is None or fresh != network_info.dump(known):
                tools.info_caches.save(context, server_uuid, fresh)
            for port_id in sorted(gone):
                self._deleted.detach(context, instance, port_id)
        except ServerNotFound:
            return
        except NovaLiteError as error:
            LOG.warning("Could not refresh the network cache of server %s: %s", server_uuid, error)

    def _saved(self, server_uuid: str) -> list[Vif] | None:
        """The cache as the work on the server that has just ended has left it, if it was saved: an
        event about what that has done itself costs no call then."""
        text = self._tools.info_caches.recent(server_uuid)
        return None if text is None else network_info.load(text)

    def _current(
        self, context: RequestContext, instance: WireObject, known: list[Vif], asked: Asked
    ) -> list[Vif]:
        """The server's ports as Neutron has them, those added that are asked for."""
        tools, uuid = self._tools, str(instance["uuid"])
        if not asked.anew:
            return self._found(context, uuid, known, asked)
        if instance.get("task_state") is None and instance.get("vm_state") in WITH_GUEST:
            server = decode.server(
                instance, name_template=tools.conf.instance_name_template, context=context
            )
            tools.ports.bind(context, server, known, tools.host)
        return tools.ports.refresh(context, uuid, known, beside=None)

    def _found(
        self, context: RequestContext, server_uuid: str, known: list[Vif], asked: Asked
    ) -> list[Vif]:
        """The same, where the cache is not made anew."""
        ids, ports = {vif.id for vif in known}, self._tools.ports
        found = ports.refresh(context, server_uuid, known, beside=asked.ports, sparing=True)
        # Without a binding a port is not on this host: nobody could plug it.
        return [vif for vif in found if vif.id in ids or vif.vif_type not in UNBOUND]

    def _with_new(
        self, context: RequestContext, instance: WireObject, vifs: list[Vif], known: set[str]
    ) -> list[Vif]:
        """Those that were known, and behind them the others in their order."""
        new = [vif for vif in vifs if vif.id not in known]
        if new:
            new = found_again(self._tools, context, instance, new)
        return [*(vif for vif in vifs if vif.id in known), *new]


def _same(one: list[Vif] | None, other: list[Vif] | None) -> bool:
    """Whether both are the same network cache; None is one that cannot be read."""
    return one is not None and other is not None and (
        network_info.dump(one) == network_info.dump(other)
    )


def cached(instance: WireObject) -> list[Vif] | None:
    """The network cache of a server; None where it cannot be read."""
    try:
        return network_info.cached(instance)
    except MalformedMessage as error:
        LOG.warning("The network cache of server %s is made anew: %s", instance["uuid"], error)
        return None
