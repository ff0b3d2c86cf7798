"""A server's NUMA topology as Nova's InstanceNUMATopology object carries it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SMALL_PAGES, LARGE_PAGES, ANY_PAGES = -1, -2, -3

DATA, CHANGES = "nova_object.data", "nova_object.changes"


@dataclass(frozen=True)
class Cell:
    """One guest node: wanted (``id`` counts from 0) or placed (``id`` is the host node).

    ``cpus`` share host CPUs, ``pcpus`` are pinned; ``page_size`` is in KiB, one of the wishes
    above, or None. ``pins`` maps pinned vCPUs to host CPUs, ``reserved`` are for emulator threads.
    """

    id: int
    cpus: frozenset[int]
    pcpus: frozenset[int]
    memory_mb: int
    page_size: int | None = None
    cpu_policy: str | None = None
    thread_policy: str | None = None
    pins: Mapping[int, int] | None = None
    reserved: frozenset[int] = frozenset()

    @property
    def pinned(self) -> bool:
        """Whether it has vCPUs with a host CPU of their own."""
        return self.cpu_policy in ("dedicated", "mixed")

    @property
    def host_cpus(self) -> frozenset[int]:
        """The host CPUs that it alone uses."""
        return frozenset((self.pins or {}).values()) | self.reserved


@dataclass(frozen=True)
class Topology:
    """All nodes of a guest; ``emulator_policy`` is share, isolate or None."""

    cells: tuple[Cell, ...]
    emulator_policy: str | None = None


def primitive_of(topology: Any) -> dict[str, Any]:
    """The primitive behind ``topology``: itself, or that of an object that wraps one."""
    primitive: dict[str, Any] = getattr(topology, "primitive", topology)
    return primitive


def parse(topology: Any) -> Topology:
    """Read an InstanceNUMATopology primitive, or an object with one in ``.primitive``."""
    data = primitive_of(topology)[DATA]
    return Topology(
        tuple(_cell(cell[DATA]) for cell in data["cells"]), data.get("emulator_threads_policy")
    )


def _cell(data: Mapping[str, Any]) -> Cell:
    pins = data.get("cpu_pinning_raw")
    return Cell(
        id=data["id"],
        cpus=frozenset(data.get("cpuset") or ()),
        pcpus=frozenset(data.get("pcpuset") or ()),
        memory_mb=data["memory"],
        page_size=data.get("pagesize"),
        cpu_policy=data.get("cpu_policy"),
        thread_policy=data.get("cpu_thread_policy"),
        # JSON has only text as keys.
        pins={int(vcpu): cpu for vcpu, cpu in pins.items()} if pins else None,
        reserved=frozenset(data.get("cpuset_reserved") or ()),
    )


def fill(wanted: Any, cells: tuple[Cell, ...]) -> dict[str, Any]:
    """A copy of the ``wanted`` primitive with the placement of ``cells``, for saving."""
    primitive = copy.deepcopy(primitive_of(wanted))
    for member, cell in zip(primitive[DATA]["cells"], cells, strict=True):
        fields = {
            "id": cell.id,
            "pagesize": cell.page_size,
            "cpu_pinning_raw": (
                {str(vcpu): cpu for vcpu, cpu in sorted(cell.pins.items())} if cell.pins else None
            ),
            "cpuset_reserved": sorted(cell.reserved) or None,
        }
        data = member[DATA]
        changed = {name for name, value in fields.items() if data.get(name) != value}
        data.update(fields)
        member[CHANGES] = sorted({*member.get(CHANGES, ()), *changed})
    primitive[CHANGES] = sorted({*primitive.get(CHANGES, ()), "cells"})
    return primitive
