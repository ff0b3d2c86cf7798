"""Which host CPUs the pinned vCPUs of a guest node get."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from nova_lite.inventory.numa_guest import Cell
from nova_lite.inventory.numa_host import HostCell


def pin(
    host: HostCell, cell: Cell, reserve: int = 0
) -> tuple[dict[int, int], frozenset[int]] | None:
    """Pin the vCPUs of ``cell`` to free CPUs of ``host``, by its thread policy.

    ``isolate`` gives every vCPU a core of its own, ``require`` insists on sharing cores,
    ``prefer`` shares them where it can. Emulator threads get ``reserve`` more CPUs.

    :return: (vCPU -> host CPU, CPUs for emulator threads), None when it does not fit
    """
    isolate = cell.thread_policy == "isolate"
    for usable in _choices(host, cell.thread_policy):
        chosen = usable[: len(cell.pcpus)]
        if len(chosen) < len(cell.pcpus):
            continue
        spare = _spare(host, frozenset(chosen), isolate)
        if len(spare) >= reserve:
            pins = dict(zip(sorted(cell.pcpus), chosen, strict=True))
            return pins, frozenset(spare[:reserve])
    return None


def _choices(host: HostCell, policy: str | None) -> Iterator[list[int]]:
    """Host CPUs to take from, in order, the best choice first."""
    cores, threads = host.free_siblings, host.threads_per_core
    if policy == "isolate":
        # With a CPU set for pinning, a core's other thread may belong to the shared CPUs, and
        # Placement would not know that it is spoilt: such hosts isolate only without SMT.
        if threads == 1 or host.pcpus == host.cpus:
            yield [core[0] for core in cores if len(core) == threads]
        return
    least = 2 if policy == "require" else 1
    if policy == "require" and threads < 2:
        return
    # As many threads of a core as possible first: siblings of the guest are siblings on the host.
    for number in range(threads, least - 1, -1):
        yield list(chain(*(core[:number] for core in cores if len(core) >= number)))
    if policy != "require":
        yield list(chain(*cores))


def _spare(host: HostCell, chosen: frozenset[int], isolate: bool) -> list[int]:
    """Free CPUs that are left; an isolated vCPU leaves none on its core."""
    left = (core for core in host.free_siblings if not (isolate and chosen.intersection(core)))
    return [cpu for core in left for cpu in core if cpu not in chosen]
