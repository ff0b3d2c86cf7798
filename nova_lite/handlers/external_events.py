"""external_instance_event: events of Neutron, Cinder and Cyborg about servers of this host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from nova_lite.services.events import EventHub
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

WAITED_FOR = (
    "network-vif-plugged",
    "network-vif-unplugged",
    "accelerator-request-bound",
    "volume-reimaged",
)


class ExternalEvents:
    """Delivers events to waiting operations, refreshes the network cache on network-changed, takes
    interfaces away on network-vif-deleted, and extends volumes on volume-extended.

    ``refresh`` is called with (context, server uuid, port id or None), ``detach`` with (context,
    instance, port id), ``extend`` with (context, instance, volume ids).
    """

    def __init__(
        self,
        hub: EventHub,
        refresh: Callable[[RequestContext, str, str | None], None],
        detach: Callable[[RequestContext, WireObject, str], None],
        extend: Callable[[RequestContext, WireObject, list[str]], None],
    ) -> None:
        self._hub = hub
        self._refresh = refresh
        self._detach = detach
        self._extend = extend

    def external_instance_event(
        self,
        context: RequestContext,
        instances: list[WireObject],
        events: list[WireObject],
        **_ignored: Any,
    ) -> None:
        known = {str(instance["uuid"]): instance for instance in instances}
        extended: dict[str, list[str]] = {}
        for event in events:
            uuid, name, tag = str(event["instance_uuid"]), event["name"], event.get("tag")
            if uuid not in known:
                LOG.warning("Event %s names server %s, which is not in the message", name, uuid)
                continue
            LOG.info("Received event %s %s for server %s", name, tag, uuid)
            if name in WAITED_FOR:
                if not self._hub.deliver(uuid, name, tag, event.get("status", "completed")):
                    LOG.info("Nobody waits for event %s %s of server %s", name, tag, uuid)
            elif name == "network-changed":
                self._refresh(context, uuid, tag)
            elif name == "network-vif-deleted" and tag:
                self._detach(context, known[uuid], str(tag))
            elif name == "volume-extended" and tag:
                extended.setdefault(uuid, []).append(str(tag))
            else:
                LOG.warning("Event %s of server %s is not supported yet; ignored", name, uuid)
        for uuid, volume_ids in extended.items():
            self._extend(context, known[uuid], volume_ids)
