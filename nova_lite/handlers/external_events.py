"""external_instance_event: events of Neutron, Cinder and Cyborg about servers of this host."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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

    ``refresh`` is called with (context, instance, port id or None), ``detach`` with (context,
    instance, port id), ``extend`` with (context, instance, volume ids); where nothing could be
    promised, it returns what is done when that was told, and False when the message must come
    again.
    """

    def __init__(
        self,
        hub: EventHub,
        refresh: Callable[[RequestContext, WireObject, str | None], None],
        detach: Callable[[RequestContext, WireObject, str], None],
        extend: Callable[[RequestContext, WireObject, list[str]], Future[bool] | None],
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
    ) -> Future[bool] | None:
        """Take events in.

        :return: what is not None keeps the message from being acknowledged until it is done, and
            after that if it is False
        """
        known = {str(instance["uuid"]): instance for instance in instances}
        ours = []
        extended: dict[str, list[str]] = {}
        deleted: list[tuple[WireObject, str]] = []
        for event in events:
            uuid, name, tag = str(event["instance_uuid"]), event["name"], event.get("tag")
            if uuid not in known:
                LOG.warning("Event %s names server %s, which is not in the message", name, uuid)
                continue
            if name not in WAITED_FOR:
                LOG.info("Received event %s %s for server %s", name, tag, uuid)
            if name == "volume-extended" and tag:
                extended.setdefault(uuid, []).append(str(tag))
            elif name == "network-vif-deleted" and tag:
                deleted.append((known[uuid], str(tag)))
            else:
                ours.append((uuid, name, tag, event))
        # First what is a promise, so that nothing else can keep it from being made.
        told = [self._extend(context, known[uuid], ids) for uuid, ids in extended.items()]
        for instance, port_id in deleted:
            self._detach(context, instance, port_id)
        for uuid, name, tag, event in ours:
            self._take_in(context, known[uuid], name, tag, event)
        return _all_over([over for over in told if over is not None])

    def _take_in(
        self,
        context: RequestContext,
        instance: WireObject,
        name: str,
        tag: str | None,
        event: WireObject,
    ) -> None:
        uuid = str(instance["uuid"])
        if name in WAITED_FOR:
            # Neutron tells of every port again and again: no news where nobody waits for it.
            awaited = self._hub.deliver(uuid, name, tag, event.get("status", "completed"))
            LOG.log(logging.INFO if awaited else logging.DEBUG,
                    "Received event %s %s for server %s%s", name, tag, uuid,
                    "" if awaited else "; nobody waits for it")  # fmt: skip
        elif name == "network-changed":
            self._refresh(context, instance, tag)
        else:
            LOG.warning("Event %s of server %s is not supported yet; ignored", name, uuid)


def _all_over(each: Sequence[Future[bool]]) -> Future[bool] | None:
    """Done when all are, True when all are; None where there are none."""
    if not each:
        return None
    over: Future[bool] = Future()
    lock, left = threading.Lock(), set(each)

    def one_is(done: Future[bool]) -> None:
        with lock:
            left.discard(done)
            last = not left
        if last:
            over.set_result(all(one.result() for one in each))

    for one in each:
        one.add_done_callback(one_is)
    return over
