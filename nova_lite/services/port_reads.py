"""What ports refer to (networks, subnets, floating addresses), read at the same time and no oftener
than needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from nova_lite.clients.neutron import Api
from nova_lite.clients.neutron_vifs import Surroundings, vif_of
from nova_lite.clock import Clock
from nova_lite.model.network import Vif

KEPT_S = 60.0  # servers of one request come within seconds
AT_ONCE = 4  # calls of Neutron for one server


class Once:
    """Has each thing read once, however many threads ask for it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reads: dict[str, Future[None]] = {}

    def read(self, ids: Iterable[str], read: Callable[[list[str]], None]) -> None:
        """Return when all were read; what could not be is read anew when asked for again.

        :raises: what ``read`` does, here or for who asked first
        """
        mine: Future[None] = Future()
        wanted = sorted(set(ids))
        with self._lock:
            new = [one for one in wanted if self._reads.setdefault(one, mine) is mine]
            others = {self._reads[one] for one in wanted} - {mine}
        if new:
            try:
                read(new)
            except BaseException as error:
                with self._lock:
                    for one in new:
                        del self._reads[one]
                mine.set_exception(error)
                raise
            mine.set_result(None)
        for other in others:
            other.result()


@dataclass
class SharedSurroundings(Surroundings):
    """Surroundings that several threads read and use; floating addresses are each one's own."""

    networks_once: Once = field(default_factory=Once)
    subnets_once: Once = field(default_factory=Once)

    def add_networks(self, api: Api, network_ids: Iterable[str]) -> None:
        self.networks_once.read(
            network_ids, lambda ids: super(SharedSurroundings, self).add_networks(api, ids)
        )

    def add_subnets(self, api: Api, network_ids: Iterable[str]) -> None:
        self.subnets_once.read(
            network_ids, lambda ids: super(SharedSurroundings, self).add_subnets(api, ids)
        )


class RequestReads:
    """What was read for a request; the other servers of the same request need no call.

    Nobody may expect of a request that it sees what was changed after it was made, and no other
    project has a part in it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str | None], tuple[float, SharedSurroundings]] = {}

    def of(self, context: Any) -> Surroundings:
        """The surroundings of a request, with what was read for it in the last KEPT_S seconds."""
        if not context.request_id:
            return Surroundings()
        now, key = self._clock.monotonic(), (context.request_id, context.project_id)
        with self._lock:
            self._kept = {k: kept for k, kept in self._kept.items() if kept[0] > now - KEPT_S}
            _, shared = self._kept.setdefault(key, (now, SharedSurroundings()))
        return replace(shared, floating={})


def read_around(
    api: Api, around: Surroundings, network_ids: Collection[str], port_ids: Collection[str]
) -> None:
    """Read networks, their subnets, and the floating addresses of ports, side by side."""
    reads: list[Callable[[], None]] = []
    if network_ids:
        reads += [
            lambda: around.add_networks(api, network_ids),
            lambda: around.add_subnets(api, network_ids),
        ]
    if port_ids:
        reads.append(lambda: around.add_floating_ips(api, port_ids))
    side_by_side(reads)


def unread_networks(ports: Iterable[Mapping[str, Any]], around: Surroundings) -> set[str]:
    """The networks of ports that are to be read: also those that got a subnet since they were."""
    return {
        port["network_id"]
        for port in ports
        if port["network_id"] not in around.networks
        or any(ip["subnet_id"] not in around.subnets for ip in port.get("fixed_ips") or ())
    }


def side_by_side(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of it at the same time, AT_ONCE at most; what they return.

    :raises: what the first of them raises; all have ended then
    """
    if len(jobs) <= 1:
        return [job() for job in jobs]
    with ThreadPoolExecutor(min(len(jobs), AT_ONCE), thread_name_prefix="neutron") as pool:
        futures = [pool.submit(job) for job in jobs]
    return [future.result() for future in futures]


def is_as_known(vif: Vif, port: Mapping[str, Any], around: Surroundings, ovs_bridge: str) -> bool:
    """Whether a port is as its interface describes it, apart from being wired up or not.

    :param around: its floating addresses; networks and subnets are not needed
    :raises PortBindingFailed: Neutron could not bind it
    """
    bare = vif_of(port, around, ovs_bridge=ovs_bridge)
    addresses = {
        ip["ip_address"]: sorted(around.floating.get((vif.id, ip["ip_address"]), ()))
        for ip in port.get("fixed_ips") or ()
    }
    known = {
        ip.address: sorted(ip.floating_ips) for subnet in vif.network.subnets for ip in subnet.ips
    }
    own = ("mac", "vif_type", "details", "vnic_type", "profile", "devname", "ovs_interfaceid")
    return (
        addresses == known
        and (bare.network.id, bare.network.bridge) == (vif.network.id, vif.network.bridge)
        and all(getattr(bare, name) == getattr(vif, name) for name in own)
    )
