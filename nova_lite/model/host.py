"""What a hypervisor host is and can do, as its driver found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite.model.states import PowerState


@dataclass(frozen=True)
class NumaCell:
    """A host NUMA node: memory in KiB, CPU ids, sibling threads, page size (KiB) -> total pages."""

    id: int
    memory_kib: int
    cpus: frozenset[int]
    siblings: tuple[frozenset[int], ...] = ()
    pages: Mapping[int, int] = field(default_factory=dict)
    socket: int | None = None


@dataclass(frozen=True)
class HostFacts:
    """Identity and size of the host; memory in MiB, versions as integers (9000000 is 9.0.0).

    ``cpu`` is the JSON-able ``{arch, model, vendor, topology, features}`` of ComputeNode.cpu_info;
    ``guests`` lists (architecture, domain type, os type) that can run. ``present_cpus`` are those
    that can be used, also if they are offline now.
    """

    hostname: str
    uuid: str
    arch: str
    hypervisor_type: str
    hypervisor_version: int
    libvirt_version: int
    online_cpus: frozenset[int]
    memory_mb: int
    cpu: Mapping[str, Any]
    numa_cells: tuple[NumaCell, ...] = ()
    guests: tuple[tuple[str, str, str], ...] = ()
    present_cpus: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Capabilities:
    """What the driver can do; plans consult it and Placement traits come from the same source.

    ``traits`` are os-traits names, CPU features aside: ``guest_cpu_features`` names those that
    guests see, as libvirt calls them. ``machine_types`` maps an architecture to its machine types,
    the one for guests that ask for none first.
    """

    traits: frozenset[str] = frozenset()
    machine_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    firmware: frozenset[str] = frozenset({"bios"})
    secure_boot: bool = False
    cgroup_cpu: bool = True
    features: frozenset[str] = frozenset()
    guest_cpu_features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DomainInfo:
    """A guest known to the hypervisor; memory in KiB."""

    uuid: str
    name: str
    power_state: PowerState
    memory_kib: int = 0
    vcpus: int = 0


@dataclass(frozen=True)
class DomainEvent:
    """A guest changed by itself or by somebody else.

    ``kind`` is one of started, stopped, crashed, paused, resumed, suspended, shutdown, rebooted,
    watchdog. What a live migration does has ``detail`` migrated, postcopy or postcopy failed: the
    old host tells of paused (the last of its memory goes, or post-copy begins) and stopped (it is
    gone), the new one of started (it begins to come) and resumed (it runs there). When the old one
    tells of resumed, also with another detail, the migration failed.
    """

    uuid: str
    kind: str
    detail: str = ""

    @property
    def of_migration(self) -> bool:
        """Whether a live migration did it, from here or to here."""
        return self.detail in ("migrated", "postcopy", "postcopy failed")


@dataclass(frozen=True)
class GuestDevice:
    """A disk or network card where the hypervisor put it.

    ``kind`` is disk or nic, ``name`` the disk's target (vda) or the card's MAC address. ``bus`` is
    pci, scsi, ide, usb or none; ``address`` is as the guest sees it there (0000:00:02.0; drives:
    controller:bus:target:unit), None where the hypervisor tells none.
    """

    kind: str
    name: str
    bus: str = "none"
    address: str | None = None


@dataclass(frozen=True)
class GuestDisk:
    """A disk as the hypervisor knows it.

    ``serial`` is the id of its volume, None for a disk without; ``source`` a path, or a name in a
    storage system. ``plugged``: the running guest has it; ``defined``: its next start will have it.
    """

    target: str
    serial: str | None
    source: str
    plugged: bool
    defined: bool


@dataclass(frozen=True)
class ConsoleAddress:
    """Where a guest's graphical or serial console listens."""

    host: str
    port: int
    tls_port: int | None = None
