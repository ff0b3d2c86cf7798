"""Where a guest's vCPUs and memory sit on the host, once inventory has placed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nova_lite.model.domain import GuestNumaCell


@dataclass(frozen=True)
class GuestNuma:
    """A placed guest topology.

    ``cells`` name their host node and page size (KiB). ``pins`` maps every vCPU to the host CPUs it
    may use; for the vCPUs in ``floating`` these are all of the host node. ``emulator_policy`` is
    share/isolate/None, ``emulator_reserved`` holds the host CPUs set aside by ``isolate`` and
    ``smallest_page_kib`` is the host's ordinary page.
    """

    cells: tuple[GuestNumaCell, ...]
    pins: Mapping[int, frozenset[int]] = field(default_factory=dict)
    floating: frozenset[int] = frozenset()
    emulator_policy: str | None = None
    emulator_reserved: frozenset[int] = frozenset()
    smallest_page_kib: int = 4
