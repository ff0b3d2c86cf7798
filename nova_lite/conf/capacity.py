"""Capacity options of [DEFAULT]: allocation ratios and what the host keeps for itself."""

from __future__ import annotations

from oslo_config import cfg, types

GROUP = None


def _ratio(name: str, resource: str) -> cfg.FloatOpt:
    return cfg.FloatOpt(
        f"{name}_allocation_ratio",
        min=0.0,
        help=f"How often {resource} may be promised. Unset or 0: the ratio that Placement has "
        f"stays, and initial_{name}_allocation_ratio is used for a new host.",
    )


def _initial(name: str, default: float) -> cfg.FloatOpt:
    return cfg.FloatOpt(
        f"initial_{name}_allocation_ratio",
        default=default,
        min=0.0,
        help=f"The {name}_allocation_ratio a new host starts with; later changes belong to "
        "Placement.",
    )


OPTS: list[cfg.Opt] = [
    _ratio("cpu", "a CPU"),
    _ratio("ram", "memory"),
    _ratio("disk", "local disk"),
    _initial("cpu", 4.0),
    _initial("ram", 1.0),
    _initial("disk", 1.0),
    cfg.IntOpt(
        "reserved_host_memory_mb",
        default=512,
        min=0,
        help="Memory the host keeps for itself, MiB.",
    ),
    cfg.IntOpt(
        "reserved_host_disk_mb",
        default=0,
        min=0,
        help="Disk the host keeps for itself, MiB; reported in GiB, rounded up.",
    ),
    cfg.IntOpt(
        "reserved_host_cpus",
        default=0,
        min=0,
        help="CPUs the host keeps for itself out of those reported as VCPU.",
    ),
    cfg.MultiOpt(
        "reserved_huge_pages",
        item_type=types.Dict(),
        help="Huge pages the host keeps for itself: node:0,size:2048,count:64 (size in KiB); may "
        "be given several times.",
    ),
]
