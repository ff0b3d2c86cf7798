"""nova-scheduler's lists of the servers of each host, which its affinity filters read.

Its RPC API 4.2 (topic ``scheduler``, fan-out casts: every scheduler keeps lists of its own). A
scheduler that has heard of a host reads no server of it from the database any more, so whoever has
told it once goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import oslo_messaging as messaging

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.messaging import sending
from nova_lite.wire import exceptions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.versions import VERSIONS

SCHEDULER = sending.Receiver(
    "nova-scheduler",
    silent=ControlPlaneUnavailable,
    remedy="check the message broker",
    failed=exceptions.incoming,
)
TOPIC, BASE, VERSION = "scheduler", "4.0", "4.2"


class Scheduler:
    """Casts to all schedulers; raises ControlPlaneUnavailable when the broker takes none.

    :param host: nova.conf's host of this agent
    """

    def __init__(self, transport: Any, host: str) -> None:
        # All that is told is made here, as the oldest release knows it.
        target = messaging.Target(topic=TOPIC, version=BASE)
        self._client = sending.client(transport, target, Outgoing())
        self._host = host

    def sync(self, servers: Iterable[str]) -> None:
        """All servers of this host (sync_instance_info).

        A scheduler whose own list differs makes a new one from the database, and reads that until
        it hears from this host again.

        :param servers: their uuids
        """
        self._cast("sync_instance_info", instance_uuids=sorted(servers))

    def arrived(self, server: str) -> None:
        """A server that this host has now (update_instance_info).

        One at a time: a scheduler that has no list of this host takes several for all there are. No
        more is told than the uuid, as in a list that a scheduler makes for itself.
        """
        instance = WireObject.new("Instance", VERSIONS["Instance"], uuid=server)
        listed = WireObject.new("InstanceList", VERSIONS["InstanceList"], objects=[instance])
        self._cast("update_instance_info", instance_info=listed)

    def left(self, server: str) -> None:
        """A server that this host has no more (delete_instance_info)."""
        self._cast("delete_instance_info", instance_uuid=server)

    def _cast(self, method: str, **arguments: Any) -> None:
        context = RequestContext.admin()
        to_all = self._client.prepare(fanout=True, version=VERSION)

        def send(wait: float | None) -> None:
            to_all.cast(context, method, host_name=self._host, **arguments)

        sending.deliver(SCHEDULER, method, send)
