"""What the servers of this host use, in memory, for ComputeNode and for placing more.

A server has a claim for each role that it plays here: what it uses now, what it will use when it
has come here or was resized, and what is kept for it until its move is confirmed. All of them count
as used, until each is released.

Placement has already counted vCPUs, memory and disk when a server arrives, so a claim is refused
only where Placement cannot look: NUMA nodes, pinned CPUs and huge pages. The lock is held for
arithmetic only, never while anything is read or written elsewhere.
"""

from __future__ import annotations

import enum
import itertools
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nova_lite.errors import NovaLiteError, ResourcesUnavailable
from nova_lite.inventory import numa as numa_fit
from nova_lite.inventory.node import ServerState, Used
from nova_lite.inventory.numa_guest import primitive_of
from nova_lite.inventory.numa_host import HostCell, to_json
from nova_lite.model.server import Flavor

LOG = logging.getLogger(__name__)

DATA = "nova_object.data"
# vm_states whose servers use nothing of their host any more.
AWAY = frozenset({"deleted", "shelved_offloaded"})


@dataclass(frozen=True)
class Sizes:
    """What one server takes: memory and swap in MiB, disks in GiB."""

    vcpus: int
    memory_mb: int
    root_gb: int = 0
    ephemeral_gb: int = 0
    swap_mb: int = 0

    @classmethod
    def of(cls, flavor: Flavor, *, volume_backed: bool = False) -> Sizes:
        """Sizes of a flavor; the root disk of a volume-backed server is elsewhere."""
        root = 0 if volume_backed else flavor.root_gb
        return cls(flavor.vcpus, flavor.memory_mb, root, flavor.ephemeral_gb, flavor.swap_mb)

    @property
    def disk_mb(self) -> int:
        return (self.root_gb + self.ephemeral_gb) * 1024 + self.swap_mb


class Role(enum.Enum):
    """What a server's claim on this host is for."""

    CURRENT = "current"  # it is here
    INCOMING = "incoming"  # it is coming here, or gets another flavor here
    OUTGOING = "outgoing"  # it left, or got another flavor, and may come back to this


@dataclass(frozen=True)
class Claim:
    """A server's share of this host in one role; ``numa`` is its placed topology as a primitive."""

    sizes: Sizes
    state: ServerState
    numa: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Usage:
    """All claims of this host, without what is reserved for the host: what node.fields takes.

    ``servers`` are those that are here: what moves does not count as a server, as in stock.
    """

    used: Used
    servers: tuple[ServerState, ...]
    failed_builds: int = 0

    @property
    def running_vms(self) -> int:
        return len(self.servers)


class Claims:
    """Safe to share between threads."""

    def __init__(self, host: Sequence[HostCell] = (), *, pack: bool = False) -> None:
        self._lock = threading.Lock()
        self._host, self._pack = tuple(host), pack
        self._claims: dict[tuple[str, Role], Claim] = {}
        self._failed_builds = 0

    def set_host(self, host: Sequence[HostCell], *, pack: bool = False) -> None:
        """Say what NUMA nodes the host has (numa_host.host_cells, without usage).

        :param pack: as in numa.fit
        """
        with self._lock:
            self._host, self._pack = tuple(host), pack

    def claim(
        self,
        uuid: str,
        sizes: Sizes | Flavor,
        numa: Any = None,
        *,
        limits: Any = None,
        placed: bool = False,
        project_id: str | None = None,
        os_type: str | None = None,
        role: Role = Role.CURRENT,
    ) -> dict[str, Any] | None:
        """Claim what server ``uuid`` needs; a second claim of it in a role is the first one.

        :param numa: its InstanceNUMATopology primitive, None when it wants none
        :param limits: NUMATopologyLimits primitive of the scheduler's limits
        :param placed: ``numa`` was placed by an earlier claim of this host and stays as it is
        :return: the placed topology, to be saved with the server
        :raises ResourcesUnavailable: NUMA nodes, CPUs to pin or huge pages do not suffice
        """
        if isinstance(sizes, Flavor):
            sizes = Sizes.of(sizes)
        with self._lock:
            known = self._claims.get((uuid, role))
            if known is None:
                topology = primitive_of(numa) if numa else None
                if topology and not placed:
                    topology = self._place(topology, limits)
                state = ServerState("building", None, os_type, project_id)
                known = Claim(sizes, state, topology)
                self._claims[uuid, role] = known
            return dict(known.numa) if known.numa else None

    def _place(self, wanted: dict[str, Any], limits: Any) -> dict[str, Any]:
        if not self._host:
            raise ResourcesUnavailable(
                "Insufficient compute resources: the server wants a NUMA topology, which this host "
                "does not have"
            )
        bounds = numa_fit.Limits.parse(limits)
        return numa_fit.fit(self._used(), wanted, bounds, pack=self._pack)

    def release(self, uuid: str, role: Role | None = None) -> None:
        """Give back what ``uuid`` had in a role, or in all of them; nothing to give is success."""
        with self._lock:
            for each in Role if role is None else (role,):
                self._claims.pop((uuid, each), None)

    def turn(self, uuid: str, before: Role, after: Role) -> None:
        """Let what a server has in one role be for another one; may be repeated."""
        with self._lock:
            claim = self._claims.pop((uuid, before), None)
            if claim is not None:
                self._claims[uuid, after] = claim

    def arrive(self, uuid: str, *, stayed: bool) -> None:
        """Let what a server that was to come will use be what it uses; may be repeated.

        :param stayed: it got another flavor here: what it had is kept for its way back
        """
        with self._lock:
            comes = self._claims.pop((uuid, Role.INCOMING), None)
            if comes is None:
                return
            if stayed and (uuid, Role.CURRENT) in self._claims:
                self._claims[uuid, Role.OUTGOING] = self._claims[uuid, Role.CURRENT]
            self._claims[uuid, Role.CURRENT] = comes

    def note(self, uuid: str, *, vm_state: str, task_state: str | None = None) -> None:
        """Record a server's state for the statistics; unknown servers are ignored."""
        with self._lock:
            claim = self._claims.get((uuid, Role.CURRENT))
            if claim:
                state = replace(claim.state, vm_state=vm_state, task_state=task_state)
                self._claims[uuid, Role.CURRENT] = replace(claim, state=state)

    def restore(self, instances: Iterable[Any]) -> None:
        """Claim for the servers that are here already, from their Instance objects.

        What they use is not questioned. A server whose record cannot be read is logged and left
        out, so that it cannot keep the host down. Existing claims of other servers remain.

        :param instances: primitives, or objects with one in ``.primitive``; ``flavor`` and
            ``numa_topology`` are to be loaded
        """
        for instance in instances:
            fields: Mapping[str, Any] = primitive_of(instance).get(DATA, {})
            uuid = fields.get("uuid")
            try:
                claim = claim_of(fields)
            except (KeyError, TypeError) as error:
                LOG.error("Server %s is not accounted for: its record lacks %s", uuid, error)
                continue
            with self._lock:
                if fields.get("vm_state") in AWAY:
                    self._claims.pop((str(uuid), Role.CURRENT), None)
                else:
                    self._claims[str(uuid), Role.CURRENT] = claim

    def keep(self, claims: Mapping[tuple[str, Role], Claim]) -> None:
        """Take over claims of servers that move, as their records have them (``moves``)."""
        with self._lock:
            self._claims.update(claims)

    def build_ended(self, *, failed: bool) -> None:
        """Count failed builds in a row, which make the scheduler prefer other hosts."""
        with self._lock:
            self._failed_builds = self._failed_builds + 1 if failed else 0

    def topology(self, uuid: str, role: Role = Role.CURRENT) -> dict[str, Any] | None:
        """The placed NUMA topology of a server."""
        with self._lock:
            claim = self._claims.get((uuid, role))
            return dict(claim.numa) if claim and claim.numa else None

    def servers(self) -> frozenset[str]:
        """The uuids with a claim."""
        with self._lock:
            return frozenset(uuid for uuid, _ in self._claims)

    def here(self) -> frozenset[str]:
        """The uuids of the servers that are on this host now, or are built on it."""
        with self._lock:
            return frozenset(uuid for uuid, role in self._claims if role is Role.CURRENT)

    def expects_pinned(self) -> bool:
        """Whether a server is coming that has a place on NUMA nodes: it may have CPUs of its own,
        which no guest uses yet."""
        with self._lock:
            return any(role is Role.INCOMING and claim.numa
                       for (_, role), claim in self._claims.items())  # fmt: skip

    def coming(self) -> frozenset[str]:
        """The uuids of the servers that are on their way here, or get another flavor here."""
        with self._lock:
            return frozenset(uuid for uuid, role in self._claims if role is Role.INCOMING)

    def before(self, uuid: str) -> frozenset[str]:
        """The uuids whose claims are older than the first of ``uuid``; all without one."""
        with self._lock:
            uuids = [other for other, _ in self._claims]
        return frozenset(itertools.takewhile(lambda other: other != uuid, uuids))

    def usage(self) -> Usage:
        """Totals of now."""
        with self._lock:
            roles, failed = dict(self._claims), self._failed_builds
        claims = list(roles.values())
        servers = [claim.state for (_, role), claim in roles.items() if role is Role.CURRENT]
        used = Used(
            vcpus=sum(claim.sizes.vcpus for claim in claims),
            memory_mb=sum(claim.sizes.memory_mb for claim in claims),
            disk_gb=sum(claim.sizes.disk_mb for claim in claims) // 1024,
        )
        return Usage(used, tuple(servers), failed)

    def numa_json(self) -> str | None:
        """The text of ComputeNode.numa_topology, None for a host without nodes."""
        with self._lock:
            cells = self._used()
        return to_json(cells)

    def _used(self) -> tuple[HostCell, ...]:
        """The host's nodes with all servers on them; the lock is held."""
        cells = self._host
        for (uuid, _), claim in self._claims.items():
            if not claim.numa:
                continue
            try:
                cells = numa_fit.use(cells, claim.numa)
            except (KeyError, TypeError, NovaLiteError) as error:
                LOG.error("NUMA topology of server %s is not accounted for: %r", uuid, error)
        return cells


def claim_of(fields: Mapping[str, Any], flavor_field: str = "flavor", numa: Any = None) -> Claim:
    """The claim that an Instance record describes.

    :param fields: data of an Instance
    :param flavor_field: ``new_flavor`` or ``old_flavor`` for what a move brings or leaves
    :param numa: with one of these, the topology that belongs to it
    :raises KeyError, TypeError: the record lacks something
    """
    flavor = fields[flavor_field][DATA]
    # A server booted from a volume has no image of its own.
    root = flavor["root_gb"] if fields.get("image_ref") else 0
    sizes = Sizes(
        flavor["vcpus"], flavor["memory_mb"], root, flavor.get("ephemeral_gb") or 0,
        flavor.get("swap") or 0,
    )  # fmt: skip
    names = ("vm_state", "task_state", "os_type", "project_id")
    state = ServerState(**{name: fields.get(name) for name in names})
    return Claim(sizes, state, fields.get("numa_topology") if flavor_field == "flavor" else numa)
