"""The host's NUMA nodes: what they have, what is used, and how Nova's records say it.

The JSON is that of ComputeNode.numa_topology: the primitive of a NUMATopology 1.2 object with cells
of NUMACell 1.5 and pages of NUMAPagesTopology 1.1, which the scheduler's NUMA filter reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.model.host import HostFacts, NumaCell

KIB_PER = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


@dataclass(frozen=True)
class HostPages:
    """Pages of one size on a node; ``reserved`` ones are not for guests."""

    size_kib: int
    total: int
    used: int = 0
    reserved: int = 0

    def fits(self, memory_kib: int, *, overcommit: bool = False) -> bool:
        """Whether so much memory is whole pages that are free (or, overcommitted, that exist)."""
        pages = self.total if overcommit else self.total - self.used - self.reserved
        return memory_kib % self.size_kib == 0 and memory_kib <= pages * self.size_kib


@dataclass(frozen=True)
class HostCell:
    """A node; memory in MiB. ``cpus`` are for sharing, ``pcpus`` for pinning, ``pinned`` taken.

    ``cpu_usage`` counts shared vCPUs of guests with a NUMA topology; ``physnets`` and ``tunneled``
    name the networks whose cards hang on this node.
    """

    id: int
    cpus: frozenset[int]
    pcpus: frozenset[int]
    memory_mb: int
    siblings: tuple[frozenset[int], ...] = ()
    pages: tuple[HostPages, ...] = ()
    socket: int | None = None
    cpu_usage: int = 0
    memory_usage_mb: int = 0
    pinned: frozenset[int] = frozenset()
    physnets: frozenset[str] = frozenset()
    tunneled: bool = False

    @property
    def free_pcpus(self) -> frozenset[int]:
        return self.pcpus - self.pinned

    @property
    def free_siblings(self) -> list[list[int]]:
        """Free CPUs by core; a node that tells no siblings has one CPU per core."""
        cores = self.siblings or tuple(frozenset({cpu}) for cpu in sorted(self.pcpus))
        return [sorted(core & self.free_pcpus) for core in cores]

    @property
    def threads_per_core(self) -> int:
        return max((len(core) for core in self.siblings), default=1)

    @property
    def free_memory_mb(self) -> int:
        return self.memory_mb - self.memory_usage_mb

    @property
    def smallest_page(self) -> HostPages | None:
        return min(self.pages, key=lambda pages: pages.size_kib, default=None)

    def with_siblings(self, cpus: frozenset[int]) -> frozenset[int]:
        """``cpus`` and all threads of their cores."""
        return cpus.union(*(core for core in self.siblings if core & cpus))


def host_cells(
    facts: HostFacts,
    *,
    shared: frozenset[int] | None = None,
    dedicated: frozenset[int] | None = None,
    reserved: Mapping[int, Mapping[int, int]] | None = None,
) -> tuple[HostCell, ...]:
    """The nodes of an empty host; none when it does not tell any.

    Without both sets every CPU may be shared or pinned; with one of them, only as it says.

    :param shared: [compute] cpu_shared_set
    :param dedicated: [compute] cpu_dedicated_set
    :param reserved: pages not for guests: node -> page size in KiB -> count
    :raises InvalidConfiguration: the two sets overlap
    """
    if shared and dedicated and shared & dedicated:
        raise InvalidConfiguration(
            f"[compute] cpu_shared_set and cpu_dedicated_set both name CPUs "
            f"{sorted(shared & dedicated)}"
        )
    online = facts.online_cpus
    nothing: frozenset[int] = frozenset()
    if shared is None and dedicated is None:
        floating, pinnable = online, online
    else:
        floating, pinnable = (shared or nothing) & online, (dedicated or nothing) & online
    return tuple(
        _host_cell(cell, floating, pinnable, (reserved or {}).get(cell.id, {}))
        for cell in facts.numa_cells
    )


def _host_cell(
    cell: NumaCell,
    floating: frozenset[int],
    pinnable: frozenset[int],
    reserved: Mapping[int, int],
) -> HostCell:
    usable = cell.cpus & (floating | pinnable)
    cores = {core & usable for core in cell.siblings} - {frozenset()}
    return HostCell(
        id=cell.id,
        cpus=cell.cpus & floating,
        pcpus=cell.cpus & pinnable,
        memory_mb=cell.memory_kib // 1024,
        siblings=tuple(sorted(cores, key=sorted)),
        pages=tuple(
            HostPages(size, total, reserved=reserved.get(size, 0))
            for size, total in sorted(cell.pages.items())
        ),
        socket=cell.socket,
    )


def reserved_pages(entries: Iterable[Mapping[str, str]]) -> dict[int, dict[int, int]]:
    """[DEFAULT] reserved_huge_pages as node -> page size in KiB -> count.

    Sizes are KiB or carry a unit: ``node:0,size:1GB,count:2``.

    :raises InvalidConfiguration: an entry is not of that form
    """
    result: dict[int, dict[int, int]] = {}
    for entry in entries or ():
        try:
            node, count = int(entry["node"]), int(entry["count"])
            size = _page_size(entry["size"])
        except (KeyError, TypeError, ValueError):
            raise InvalidConfiguration(
                f"reserved_huge_pages = {entry}: write node:NODE,size:SIZE,count:COUNT, "
                f"such as node:0,size:2048,count:64"
            ) from None
        result.setdefault(node, {})[size] = count
    return result


def _page_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)i?(B?)", str(text).strip(), re.IGNORECASE)
    if not match:
        raise ValueError(text)
    number, unit, byte = match.groups()
    if not unit and not byte:
        return int(number)
    return int(int(number) * KIB_PER[unit.upper()])


def charge(cell: HostCell, memory_mb: int, page_kib: int | None) -> HostCell:
    """``cell`` with so much more memory in use, in pages of ``page_kib`` or the smallest ones."""
    smallest = cell.smallest_page
    size = page_kib or (smallest.size_kib if smallest else 0)
    pages = tuple(
        replace(page, used=page.used + memory_mb * 1024 // size) if page.size_kib == size else page
        for page in cell.pages
    )
    return replace(cell, memory_usage_mb=cell.memory_usage_mb + memory_mb, pages=pages)


# --- Nova's JSON ------------------------------------------------------------------------------
def to_json(cells: Iterable[HostCell]) -> str | None:
    """The text of ComputeNode.numa_topology, None for a host without nodes."""
    members = [_object("NUMACell", "1.5", _cell_fields(cell)) for cell in cells]
    if not members:
        return None
    return json.dumps(_object("NUMATopology", "1.2", {"cells": members}))


def _cell_fields(cell: HostCell) -> dict[str, Any]:
    network = {"physnets": sorted(cell.physnets), "tunneled": cell.tunneled}
    return {
        "id": cell.id,
        "cpuset": sorted(cell.cpus),
        "pcpuset": sorted(cell.pcpus),
        "memory": cell.memory_mb,
        "cpu_usage": cell.cpu_usage,
        "memory_usage": cell.memory_usage_mb,
        "pinned_cpus": sorted(cell.pinned),
        "siblings": [sorted(core) for core in cell.siblings],
        "mempages": [_object("NUMAPagesTopology", "1.1", _page_fields(p)) for p in cell.pages],
        "network_metadata": _object("NetworkMetadata", "1.0", network),
        "socket": cell.socket,
    }


def _page_fields(pages: HostPages) -> dict[str, int]:
    return {
        "size_kb": pages.size_kib,
        "total": pages.total,
        "used": pages.used,
        "reserved": pages.reserved,
    }


def _object(name: str, version: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    }


def from_json(text: str | None) -> tuple[HostCell, ...]:
    """The nodes that ComputeNode.numa_topology describes."""
    if not text:
        return ()
    cells = json.loads(text)["nova_object.data"]["cells"]
    return tuple(_cell_of(cell["nova_object.data"]) for cell in cells)


def _cell_of(data: Mapping[str, Any]) -> HostCell:
    network = (data.get("network_metadata") or {}).get("nova_object.data", {})
    return HostCell(
        id=data["id"],
        cpus=frozenset(data["cpuset"]),
        pcpus=frozenset(data.get("pcpuset") or ()),
        memory_mb=data["memory"],
        siblings=tuple(frozenset(core) for core in data.get("siblings") or ()),
        pages=tuple(_pages_of(p["nova_object.data"]) for p in data.get("mempages") or ()),
        socket=data.get("socket"),
        cpu_usage=data.get("cpu_usage", 0),
        memory_usage_mb=data.get("memory_usage", 0),
        pinned=frozenset(data.get("pinned_cpus") or ()),
        physnets=frozenset(network.get("physnets") or ()),
        tunneled=bool(network.get("tunneled")),
    )


def _pages_of(data: Mapping[str, Any]) -> HostPages:
    return HostPages(data["size_kb"], data["total"], data.get("used", 0), data.get("reserved", 0))
