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
    """Delivers events to waiting operations, refreshes the network cache on network-changed, and
    extends volumes on volume-extended.

    ``refresh`` is called with (context, server uuid, port id or None), ``extend`` with (context,
    instance, volume ids).
    """

    def __init__(
        self,
        hub: EventHub,
        refresh: Callable[[RequestContext, str, str | None], None],
        extend: Callable[[RequestContext, WireObject, list[str]], None],
    ) -> None:
        self._hub = hub
        self._refresh = refresh
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
            if name in WAITED_FOR:
                # Neutron tells of every port again and again: no news where nobody waits for it.
                awaited = self._hub.deliver(uuid, name, tag, event.get("status", "completed"))
                LOG.log(logging.INFO if awaited else logging.DEBUG,
                        "Received event %s %s for server %s%s", name, tag, uuid,
                        "" if awaited else "; nobody waits for it")  # fmt: skip
                continue
            LOG.info("Received event %s %s for server %s", name, tag, uuid)
            if name in ("network-changed", "network-vif-deleted"):
                self._refresh(context, uuid, tag)
            elif name == "volume-extended" and tag:
                extended.setdefault(uuid, []).append(str(tag))
            else:
                LOG.warning("Event %s of server %s is not supported yet; ignored", name, uuid)
        for uuid, volume_ids in extended.items():
            self._extend(context, known[uuid], volume_ids)
