"""The compute RPC API from the other side: this host asks another one."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping
from typing import Any

import oslo_messaging as messaging

from nova_lite.clock import SYSTEM, Clock
from nova_lite.conductor.services import Services
from nova_lite.errors import PeerTooOld, PeerUnavailable
from nova_lite.messaging import sending
from nova_lite.peers import versions
from nova_lite.peers.methods import METHODS, Method
from nova_lite.peers.versions import Version, shown
from nova_lite.wire import exceptions
from nova_lite.wire.compute_api import TOPIC, TOPIC_ALT
from nova_lite.wire.context import RequestContext
from nova_lite.wire.outgoing import Outgoing

REMEMBERED = 600.0  # seconds for which a host's service version is believed
# A plain call is monitored, too, where rpc_response_timeout is longer than this many seconds
# (HEARTBEAT_THRESHOLD of nova/rpc.py).
MONITORED_FROM = 60.0
REMEDY = "check that its compute agent runs and that the broker delivers to it"


class Peers:
    """Calls and casts to the compute agents of other hosts, stock or nova_lite.

    A method goes out in the version in which the other host knows it: the least of what
    [upgrade_levels]compute and its Service record allow. The record is read only where hosts of the
    cell may be too old for something (see :meth:`at_least`). The topic is ``compute``, or
    ``compute-alt`` for the methods that end something begun, if the host has that topic: from
    compute RPC 6.5, which is service version 71 (2026.1).

    A message that nobody answered may be carried out all the same, even much later: a cast, and the
    message of a call until its timeout, wait in the queue of a host that is down. What is asked
    here must bear being asked twice.
    """

    def __init__(
        self,
        transport: Any,
        conf: Any,
        services: Services,
        clock: Clock = SYSTEM,
        outgoing: Outgoing | None = None,
    ) -> None:
        """
        :param outgoing: knows what the control plane knows, which stock hosts ask for help with
            what is too new for them; default: as the oldest release
        :raises InvalidConfiguration: [upgrade_levels]compute makes no sense
        """
        self._client = sending.client(transport, messaging.Target(topic=TOPIC), outgoing)
        self._conf = conf
        self._services = services
        self._pin = versions.pinned(conf.upgrade_levels.compute)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, int]] = {}
        self._least = 0

    def call(
        self,
        context: RequestContext,
        host: str,
        method: str,
        *,
        version: str | None = None,
        timeout: float | None = None,
        long: bool | None = None,
        **arguments: Any,
    ) -> Any:
        """Call ``method`` (a row of METHODS) on ``host`` and return its result, objects wrapped.

        :param version: compute RPC version that the call needs where the row's is not enough
        :param timeout: seconds; default rpc_response_timeout, of a long call long_rpc_timeout
        :param long: whether the other host tells all the time that it is still at work (call
            monitoring): silence of rpc_response_timeout ends the call then; default: the row's
        :raises PeerUnavailable: the host does not answer, or was never there
        :raises PeerTooOld: it cannot know the method or an argument
        :raises ControlPlaneUnavailable: broker or conductor are away
        :raises NovaLiteError: the row with the name of the exception that the host raised, or
            RemoteFailure
        """
        row = METHODS[method]
        long = row.long if long is None else long
        client, known = self._prepared(context, host, method, version, arguments)
        limit = float(self._conf.rpc_response_timeout)
        if long:
            timeout = timeout or float(self._conf.long_rpc_timeout)
            client = client.prepare(timeout=timeout, call_monitor_timeout=limit)
        else:
            timeout = timeout or limit
            monitor = MONITORED_FROM if timeout > MONITORED_FROM else None
            client = client.prepare(timeout=timeout, call_monitor_timeout=monitor)
        return self._deliver(
            host, method, lambda wait: client.call(context, method, **known), timeout
        )

    def cast(
        self,
        context: RequestContext,
        host: str,
        method: str,
        *,
        version: str | None = None,
        **arguments: Any,
    ) -> None:
        """Send ``method`` (a row of METHODS) to ``host`` and wait for nothing.

        :raises PeerUnavailable: the broker has no queue for the host
        :raises PeerTooOld, ControlPlaneUnavailable: as :meth:`call`
        """
        client, known = self._prepared(context, host, method, version, arguments)
        self._deliver(host, method, lambda wait: client.cast(context, method, **known), None)

    def ping(self, host: str, *, topic: str = TOPIC, timeout: float = 10.0) -> float:
        """Return the seconds of a round trip to the agent of ``host`` (``baseapi`` 1.0).

        :raises PeerUnavailable, ControlPlaneUnavailable: as :meth:`call`
        """
        client = self._client.prepare(
            topic=topic, server=host, namespace="baseapi", version="1.0", timeout=timeout
        )
        start = self._clock.monotonic()
        self._deliver(
            host,
            f"ping on {topic}",
            lambda wait: client.call(RequestContext.admin(), "ping", arg="nova_lite"),
            timeout,
        )
        return self._clock.monotonic() - start

    def at_least(self, service: int) -> None:
        """Say which service version no nova-compute of the cell is older than.

        That stays true: a host below the lowest of the others is let neither join nor report itself
        (``_check_minimum_version`` of nova/objects/service.py). So where it allows all that is
        spoken here, nobody need be asked about a single host.
        """
        with self._lock:
            self._least = max(self._least, service)

    def reports(self, context: RequestContext, host: str, service: int) -> bool:
        """Whether ``host`` reports this service version or a later one.

        :raises PeerUnavailable: there is no such host
        """
        with self._lock:
            if self._least >= service:
                return True
        return self._service_version(context, host) >= service

    def version_of(self, context: RequestContext, host: str) -> Version:
        """The highest compute RPC version in which ``host`` may be spoken to.

        :raises PeerUnavailable: there is no such host
        :raises PeerTooOld: it is older than compute RPC 6.0
        """
        with self._lock:
            everywhere = versions.of_service(self._least)
        if everywhere is not None and everywhere >= self._pin:
            return self._pin
        service = self._service_version(context, host)
        allowed = versions.of_service(service)
        if allowed is None:
            raise PeerTooOld(
                f"the compute agent of host {host} reports service version {service}, which is "
                f"older than compute RPC {shown(versions.OLDEST)}; upgrade it"
            )
        return min(allowed, self._pin)

    def is_up(self, context: RequestContext, host: str) -> bool:
        """Whether the agent of ``host`` reports itself, as nova-api decides it.

        :raises ControlPlaneUnavailable: the conductor is away
        """
        service = self._services.of_host(context, host)
        if service is None or service.get("forced_down"):
            return False
        last = service.get("last_seen_up") or service.get("created_at")
        if not last:
            return False
        seen = datetime.datetime.fromisoformat(str(last))
        if seen.tzinfo is None:
            seen = seen.replace(tzinfo=datetime.UTC)
        age = datetime.datetime.now(datetime.UTC) - seen
        return abs(age.total_seconds()) <= self._conf.service_down_time

    def is_fenced(self, context: RequestContext, host: str) -> bool:
        """Whether an operator has said that ``host`` is dead: then nothing of it runs any more.

        That is ``openstack compute service set --down``, which an evacuation needs, too. Silence
        alone proves nothing.

        :raises ControlPlaneUnavailable: the conductor is away
        """
        service = self._services.of_host(context, host)
        return service is not None and bool(service.get("forced_down"))

    def _prepared(
        self,
        context: RequestContext,
        host: str,
        method: str,
        version: str | None,
        arguments: Mapping[str, Any],
    ) -> tuple[Any, dict[str, Any]]:
        """The client for one message, and the arguments that the host knows."""
        row = METHODS[method]
        if set(arguments) != set(row.arguments):
            raise TypeError(
                f"{method} takes the arguments {', '.join(row.arguments)}; given were "
                f"{', '.join(arguments)}"
            )
        allowed = self.version_of(context, host)
        needed, known = _fitting(host, method, row, allowed, arguments)
        if version is not None:
            needed = max(needed, versions.parse(version))
        if needed > allowed:
            raise _too_old(method, needed, host, allowed)
        second = row.alt and allowed >= versions.SECOND_TOPIC
        topic = TOPIC_ALT if second else TOPIC
        return self._client.prepare(topic=topic, server=host, version=shown(needed)), known

    def _deliver(
        self, host: str, method: str, send: Callable[[float | None], Any], wait: float | None
    ) -> Any:
        receiver = sending.Receiver(
            f"host {host}",
            silent=PeerUnavailable,
            remedy=REMEDY,
            failed=lambda error: exceptions.incoming_from_host(error, host),
        )
        try:
            return sending.deliver(receiver, method, send, (wait,), self._clock)
        except PeerUnavailable:
            with self._lock:
                self._known.pop(host, None)  # it may come back as another release
            raise

    def _service_version(self, context: RequestContext, host: str) -> int:
        with self._lock:
            asked, version = self._known.get(host, (float("-inf"), 0))
        if self._clock.monotonic() - asked < REMEMBERED:
            return version
        service = self._services.of_host(context, host)
        if service is None:
            raise PeerUnavailable(
                f"host {host} has no nova-compute service in this cloud; check its name"
            )
        version = int(service.get("version", 0))
        with self._lock:
            self._known[host] = (self._clock.monotonic(), version)
        return version


def _fitting(
    host: str, method: str, row: Method, allowed: Version, arguments: Mapping[str, Any]
) -> tuple[Version, dict[str, Any]]:
    """The version that the message needs, and the arguments without those left out."""
    needed, known = row.version, dict(arguments)
    for name, argument in row.younger.items():
        if allowed >= argument.version:
            needed = max(needed, argument.version)
        elif known.pop(name) != argument.means:
            raise _too_old(f"{method} with {name}", argument.version, host, allowed)
    return needed, known


def _too_old(what: str, needed: Version, host: str, allowed: Version) -> PeerTooOld:
    return PeerTooOld(
        f"{what} needs compute RPC {shown(needed)}, and host {host} may be spoken to in "
        f"{shown(allowed)}; upgrade it, or raise [upgrade_levels]compute"
    )
