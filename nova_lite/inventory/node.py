"""The ComputeNode record: what the API shows of this host, as plain data.

Fields and their meaning are those of Nova's ComputeNode object 1.19. Placement decides about
capacity; this record feeds ``openstack hypervisor show``, the scheduler's weights and its filters.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nova_lite.inventory.disk import DiskSpace
from nova_lite.model.host import HostFacts

# Tasks that keep a host's disk busy: counted as io_workload, which IoOpsFilter reads.
_IO_TASKS = frozenset(
    "resize_prep resize_migrating rebuilding image_snapshot image_backup rescuing shelving "
    "unshelving".split()
)
# A stat that changes with every look; it goes along when something else is saved.
_VOLATILE_STATS = ("uptime",)
# disk_available_least moves with every write of a guest: a save is worth 1/100 of the disk.
_LEAST_SHARE = 100
_HV_SPEC = ("arch", "hv_type", "vm_mode")


@dataclass(frozen=True)
class ServerState:
    """What the statistics count of one server."""

    vm_state: str | None
    task_state: str | None
    os_type: str | None
    project_id: str | None


@dataclass(frozen=True)
class Used:
    """What servers (without the host's own reservations) hold: CPUs, MiB, GiB."""

    vcpus: int = 0
    memory_mb: int = 0
    disk_gb: int = 0


def fields(
    conf: Any,
    facts: HostFacts,
    *,
    cpus: int,
    space: DiskSpace,
    used: Used,
    servers: Iterable[ServerState],
    failed_builds: int = 0,
    numa_topology: str | None = None,
    uptime: str = "",
) -> dict[str, Any]:
    """Every field that the agent decides about.

    ``supported_hv_specs`` holds (arch, hv_type, vm_mode) tuples and ``pci_device_pools`` a list;
    all other values are as the record has them.

    :param conf: the options of [DEFAULT]: host, my_ip, reservations and ratios
    :param cpus: host CPUs for shared or dedicated use
    :param failed_builds: builds that failed in a row; the scheduler avoids such hosts
    :param numa_topology: JSON of the NUMATopology object
    :param uptime: what uptime(1) prints, see ``read_uptime``
    """
    vcpus_used = conf.reserved_host_cpus + used.vcpus
    memory_used = conf.reserved_host_memory_mb + used.memory_mb
    disk_used = -(-conf.reserved_host_disk_mb // 1024) + used.disk_gb
    statistics = stats(servers, failed_builds=failed_builds, uptime=uptime)
    return {
        "host": conf.host,
        "hypervisor_hostname": facts.hostname,
        "host_ip": conf.my_ip,
        "hypervisor_type": facts.hypervisor_type,
        "hypervisor_version": facts.hypervisor_version,
        "cpu_info": json.dumps(_plain(facts.cpu)),
        "supported_hv_specs": sorted(facts.guests),
        "numa_topology": numa_topology,
        "metrics": "[]",
        "pci_device_pools": [],
        "vcpus": cpus,
        "vcpus_used": vcpus_used,
        "memory_mb": facts.memory_mb,
        "memory_mb_used": memory_used,
        "free_ram_mb": facts.memory_mb - memory_used,
        "local_gb": space.total_gb,
        "local_gb_used": disk_used,
        "free_disk_gb": space.total_gb - disk_used,
        "disk_available_least": space.available_least_gb,
        "running_vms": int(statistics["num_instances"]),
        "current_workload": _busy(statistics),
        "stats": statistics,
        **{
            f"{name}_allocation_ratio": getattr(conf, f"{name}_allocation_ratio")
            or getattr(conf, f"initial_{name}_allocation_ratio")
            for name in ("cpu", "ram", "disk")
        },
    }


def stats(
    servers: Iterable[ServerState], *, failed_builds: int = 0, uptime: str = ""
) -> dict[str, str]:
    """The ``stats`` field: counts by vm state, task, OS type and project, as text."""
    counts: Counter[str] = Counter()
    io_workload = 0
    for server in servers:
        counts["num_instances"] += 1
        counts[f"num_vm_{server.vm_state}"] += 1
        counts[f"num_task_{server.task_state}"] += 1
        counts[f"num_os_type_{server.os_type}"] += 1
        counts[f"num_proj_{server.project_id}"] += 1
        io_workload += server.vm_state == "building" or server.task_state in _IO_TASKS
    numbers = {
        "failed_builds": failed_builds,
        "num_instances": 0,
        **counts,
        "io_workload": io_workload,
    }
    found = {name: str(value) for name, value in numbers.items()}
    return found | {"uptime": uptime} if uptime else found


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``new`` that are worth a save; empty when the host is as the record says.

    :param old: the record's fields as received (objects as their primitives) or as ``fields`` gives
    :param new: as ``fields`` gives
    """
    found = {
        name: value
        for name, value in new.items()
        if name not in old or _comparable(name, old[name]) != _comparable(name, value)
    }
    if set(found) == {"disk_available_least"}:
        before = old.get("disk_available_least")
        step = max(1, int(new.get("local_gb") or 0) // _LEAST_SHARE)
        if before is not None and abs(before - found["disk_available_least"]) < step:
            return {}
    return found


def read_uptime(proc: str = "/proc") -> str:
    """The line that uptime(1) prints, which is what Nova's API shows of a host's uptime."""
    try:
        with open(f"{proc}/uptime", encoding="ascii") as file:
            minutes = int(float(file.read().split()[0])) // 60
        with open(f"{proc}/loadavg", encoding="ascii") as file:
            load = ", ".join(file.read().split()[:3])
    except (OSError, ValueError, IndexError):
        return ""
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    up = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    up += f"{hours:2d}:{minutes:02d}" if hours else f"{minutes} min"
    # "users" stands there because clients parse the line; nobody logs in for the agent.
    return f" {time.strftime('%H:%M:%S')} up {up},  0 users,  load average: {load}\n"


def _busy(statistics: Mapping[str, str]) -> int:
    """Servers with a task."""
    return sum(
        int(value)
        for name, value in statistics.items()
        if name.startswith("num_task_") and name != "num_task_None"
    )


def _plain(value: Any) -> Any:
    """JSON-able, in a stable order: sets become sorted lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _comparable(name: str, value: Any) -> Any:
    """A field in a form that is equal when the meaning is."""
    if name == "stats":
        return {key: str(row) for key, row in (value or {}).items() if key not in _VOLATILE_STATS}
    if name == "supported_hv_specs":
        return sorted(_hv_spec(spec) for spec in value or ())
    if name == "pci_device_pools":
        return _data(value).get("objects", []) if isinstance(value, Mapping) else list(value or ())
    if name in ("cpu_info", "numa_topology"):
        return _parsed(value)
    return value


def _data(primitive: Mapping[str, Any]) -> Mapping[str, Any]:
    found = primitive.get("nova_object.data", primitive)
    return found if isinstance(found, Mapping) else {}


def _hv_spec(spec: Any) -> tuple[str, ...]:
    if isinstance(spec, Mapping):
        return tuple(str(_data(spec).get(key)) for key in _HV_SPEC)
    return tuple(str(part) for part in spec)


def _parsed(text: Any) -> Any:
    """JSON text as data without what has no meaning: order of features, lists of changes."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return text
    return _meaning(found)


def _meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: sorted(item) if key == "features" and isinstance(item, list) else _meaning(item)
            for key, item in value.items()
            if key != "nova_object.changes"
        }
    return [_meaning(item) for item in value] if isinstance(value, list) else value
