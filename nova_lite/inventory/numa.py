"""Fitting guests with a NUMA topology onto the host, and what they use of it.

``host_cells`` (numa_host.py) are the host's nodes; a server brings its wish as the primitive of an
InstanceNUMATopology (numa_guest.py), ``fit`` fills in where it goes, ``use`` accounts for it and
``guest_numa`` says it in terms of the guest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from nova_lite.errors import ResourcesUnavailable
from nova_lite.inventory import numa_guest
from nova_lite.inventory.numa_guest import ANY_PAGES, LARGE_PAGES, SMALL_PAGES, Cell, parse
from nova_lite.inventory.numa_host import (
    HostCell,
    charge,
    from_json,
    host_cells,
    reserved_pages,
    to_json,
)
from nova_lite.inventory.numa_pinning import pin
from nova_lite.model.domain import GuestNumaCell
from nova_lite.model.host import HostFacts
from nova_lite.model.numa import GuestNuma

__all__ = [
    "HostCell",
    "Limits",
    "fit",
    "from_json",
    "guest_numa",
    "host_cells",
    "parse",
    "reserved_pages",
    "to_json",
    "use",
]


@dataclass(frozen=True)
class Limits:
    """What the scheduler assumed: overcommit ratios, and networks whose nodes must be used."""

    cpu_ratio: float
    ram_ratio: float
    physnets: frozenset[str] = frozenset()
    tunneled: bool = False

    @classmethod
    def parse(cls, primitive: Any) -> Limits | None:
        """Read a NUMATopologyLimits primitive (SchedulerLimits.numa_topology)."""
        if not primitive:
            return None
        data = numa_guest.primitive_of(primitive)[numa_guest.DATA]
        network = (data.get("network_metadata") or {}).get(numa_guest.DATA, {})
        return cls(
            data["cpu_allocation_ratio"],
            data["ram_allocation_ratio"],
            frozenset(network.get("physnets") or ()),
            bool(network.get("tunneled")),
        )


def fit(
    host: Sequence[HostCell], wanted: Any, limits: Limits | None = None, *, pack: bool = False
) -> dict[str, Any]:
    """Place a guest topology on the host.

    :param host: the nodes with what is used of them
    :param wanted: InstanceNUMATopology primitive
    :param pack: fill nodes up one after the other instead of spreading guests over them
        ([compute] packing_host_numa_cells_allocation_strategy)
    :return: the primitive with host nodes, page sizes, pins and reserved CPUs filled in
    :raises ResourcesUnavailable: it does not fit
    """
    topology = parse(wanted)
    cells = topology.cells
    isolated = topology.emulator_policy == "isolate"
    if len(cells) > len(host):
        raise ResourcesUnavailable(
            f"Insufficient compute resources: the server wants {len(cells)} NUMA nodes, "
            f"this host has {len(host)}"
        )
    ordered = _order(host, cells[0], pack) if len(host) > len(cells) else list(host)
    # Emulator threads live beside the first node.
    reserve = [1 if isolated and index == 0 else 0 for index in range(len(cells))]
    placed: dict[tuple[int, int], Cell | None] = {}
    for nodes in permutations(ordered, len(cells)):
        result = []
        for index, (node, cell) in enumerate(zip(nodes, cells, strict=True)):
            key = (node.id, index)
            if key not in placed:
                placed[key] = _fit_cell(node, cell, reserve[index], limits)
            found = placed[key]
            if found is None:
                break
            result.append(found)
        if len(result) == len(cells) and _near_networks(host, nodes, limits):
            return numa_guest.fill(wanted, tuple(result))
    raise ResourcesUnavailable(
        "Insufficient compute resources: Requested instance NUMA topology cannot fit the given "
        "host NUMA topology"
    )


def _order(host: Sequence[HostCell], cell: Cell, pack: bool) -> list[HostCell]:
    """The nodes to try first: by free CPUs of the kind that the guest wants, then free memory."""

    def free(node: HostCell) -> tuple[int, int]:
        cpus = len(node.free_pcpus) if cell.pinned else -node.cpu_usage
        return cpus, node.free_memory_mb

    return sorted(host, key=free, reverse=not pack)


def _fit_cell(host: HostCell, cell: Cell, reserve: int, limits: Limits | None) -> Cell | None:
    """``cell`` placed on ``host``, None when it does not fit there."""
    page_size = _page_size(host, cell)
    if page_size == 0 or not _cpus_suffice(host, cell, reserve):
        return None
    placed = replace(cell, id=host.id, page_size=page_size)
    if cell.pinned:
        pinning = pin(host, cell, reserve)
        if pinning is None:
            return None
        placed = replace(placed, pins=pinning[0], reserved=pinning[1])
    if limits and cell.cpu_policy != "dedicated":
        cpus, memory = host.cpu_usage + len(cell.cpus), host.memory_usage_mb + cell.memory_mb
        if cpus > len(host.cpus) * limits.cpu_ratio or memory > host.memory_mb * limits.ram_ratio:
            return None
    return placed


def _page_size(host: HostCell, cell: Cell) -> int | None:
    """The page size to use in KiB, None for no particular one, 0 when memory does not suffice."""
    memory_kib = cell.memory_mb * 1024
    smallest = host.smallest_page
    if not cell.page_size:
        if smallest:
            fits = smallest.fits(memory_kib, overcommit=not cell.pinned)
        else:
            fits = cell.memory_mb <= (host.free_memory_mb if cell.pinned else host.memory_mb)
        return None if fits else 0
    largest_first = sorted(host.pages, key=lambda pages: pages.size_kib, reverse=True)
    candidates = {
        SMALL_PAGES: largest_first[-1:],
        LARGE_PAGES: largest_first[:-1],
        ANY_PAGES: largest_first,
    }.get(cell.page_size, [p for p in largest_first if p.size_kib == cell.page_size])
    return next((pages.size_kib for pages in candidates if pages.fits(memory_kib)), 0)


def _cpus_suffice(host: HostCell, cell: Cell, reserve: int) -> bool:
    """Shared vCPUs may outnumber host CPUs only across guests, pinned ones never."""
    if cell.cpu_policy != "dedicated" and len(cell.cpus) > len(host.cpus):
        return False
    return not cell.pinned or len(cell.pcpus) + reserve <= len(host.free_pcpus)


def _near_networks(
    host: Iterable[HostCell], nodes: Sequence[HostCell], limits: Limits | None
) -> bool:
    """Whether one of ``nodes`` has the card of every network that is bound to some node."""
    if limits is None:
        return True
    for physnet in limits.physnets:
        holders = {node.id for node in host if physnet in node.physnets}
        if holders and not any(node.id in holders for node in nodes):
            return False
    holders = {node.id for node in host if node.tunneled}
    return not (limits.tunneled and holders) or any(node.id in holders for node in nodes)


def use(host: Iterable[HostCell], topology: Any) -> tuple[HostCell, ...]:
    """The nodes with a placed guest on them.

    CPUs that this host does not offer (any more) for pinning count as pinned all the same: the
    guest is there.
    """
    by_node: dict[int, list[Cell]] = {}
    for cell in parse(topology).cells:
        by_node.setdefault(cell.id, []).append(cell)
    result = []
    for node in host:
        for cell in by_node.get(node.id, ()):
            page_size = cell.page_size if (cell.page_size or 0) > 0 else None
            node = charge(node, cell.memory_mb, page_size)
            taken = cell.host_cpus if cell.pinned else frozenset()
            if cell.thread_policy == "isolate":
                taken = node.with_siblings(taken)
            node = replace(
                node, cpu_usage=node.cpu_usage + len(cell.cpus), pinned=node.pinned | taken
            )
        result.append(node)
    return tuple(result)


def guest_numa(topology: Any, facts: HostFacts) -> GuestNuma:
    """The placed topology in terms of the guest.

    Every guest node is numbered anew from 0. vCPUs without a pin float over their host node;
    guest.cpu narrows that to the shared CPUs.

    :raises ResourcesUnavailable: it names a node that this host does not have
    """
    placed = parse(topology)
    nodes: Mapping[int, Any] = {cell.id: cell for cell in facts.numa_cells}
    missing = sorted({cell.id for cell in placed.cells} - set(nodes))
    if missing:
        raise ResourcesUnavailable(f"the server's NUMA topology names host nodes {missing}, which "
                                   f"do not exist here")  # fmt: skip
    sizes = [size for node in facts.numa_cells for size in node.pages]
    smallest = min(sizes, default=4)
    # Shared access lets vhost-user back ends, which may be plugged in later, reach the memory.
    shared = any((cell.page_size or 0) > smallest for cell in placed.cells)
    cells, pins = [], {}
    floating: set[int] = set()
    reserved: set[int] = set()
    for index, cell in enumerate(placed.cells):
        vcpus = cell.cpus | cell.pcpus
        page = cell.page_size if (cell.page_size or 0) > 0 else None
        cells.append(GuestNumaCell(index, vcpus, cell.memory_mb * 1024, cell.id, shared, page))
        for vcpu in vcpus:
            fixed = (cell.pins or {}).get(vcpu)
            pins[vcpu] = nodes[cell.id].cpus if fixed is None else frozenset({fixed})
            if fixed is None:
                floating.add(vcpu)
        reserved |= cell.reserved
    return GuestNuma(
        cells=tuple(cells),
        pins=pins,
        floating=frozenset(floating),
        emulator_policy=placed.emulator_policy,
        emulator_reserved=frozenset(reserved),
        smallest_page_kib=smallest,
    )
