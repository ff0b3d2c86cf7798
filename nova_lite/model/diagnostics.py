"""What a running guest has used so far: counters, as its hypervisor tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nova_lite.model.states import PowerState


@dataclass(frozen=True)
class DiskStats:
    """Requests and bytes of one disk since the guest started; ``target`` is its device name."""

    target: str
    read_requests: int
    read_bytes: int
    write_requests: int
    write_bytes: int
    errors: int


@dataclass(frozen=True)
class NicStats:
    """Bytes and packets of one network card, from the guest's point of view."""

    device: str
    mac: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True)
class GuestStats:
    """All counters of one guest. What the hypervisor cannot tell is left out.

    Memory is in KiB: the most it may have, what it has now, and ``memory``, the balloon's own
    figures by libvirt's names. ``cpu_ns`` maps a virtual CPU to its CPU time in nanoseconds.
    """

    state: PowerState
    max_memory_kib: int
    memory_kib: int
    cpu_ns: Mapping[int, int] = field(default_factory=dict)
    disks: tuple[DiskStats, ...] = ()
    nics: tuple[NicStats, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
