"""Counters of a running guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.drivers.hypervisor.libvirt.states import power_state
from nova_lite.model.diagnostics import DiskStats, GuestStats, NicStats

T = TypeVar("T")


class Diagnostics(Calls):
    """The part of the Hypervisor contract that reads counters."""

    def stats(self, uuid: str) -> GuestStats:
        return self._with_domain(f"read the counters of guest {uuid}", uuid, _stats)


def _stats(domain: Any) -> GuestStats:
    state, max_memory, memory, _, _ = domain.info()
    xml = domain.XMLDesc(0)
    disks = [device.name for device in live_xml.devices(xml) if device.kind == "disk"]
    return GuestStats(
        state=power_state(state),
        max_memory_kib=max_memory,
        memory_kib=memory,
        cpu_ns=_if_told(lambda: {cpu[0]: cpu[2] for cpu in domain.vcpus()[0]}, {}),
        disks=_told(lambda target: _disk(domain, target), disks),
        nics=_told(lambda nic: _nic(domain, *nic), live_xml.taps(xml)),
        memory=_if_told(domain.memoryStats, {}),
    )


def _disk(domain: Any, target: str) -> DiskStats:
    read_requests, read_bytes, write_requests, write_bytes, errors = domain.blockStats(target)
    return DiskStats(target, read_requests, read_bytes, write_requests, write_bytes, errors)


def _nic(domain: Any, mac: str, device: str) -> NicStats:
    return NicStats(device, mac, *domain.interfaceStats(device))


def _told(read: Callable[[Any], T], devices: list[Any]) -> tuple[T, ...]:
    """What there is to read of each of the devices; an empty CD drive, for one, has no counters."""
    found = [_if_told(lambda device=device: read(device), None) for device in devices]  # type: ignore[misc]
    return tuple(stats for stats in found if stats is not None)


def _if_told(read: Callable[[], T], otherwise: T) -> T:
    """Not every kind of guest and device has all counters."""
    try:
        return read()
    except libvirt.libvirtError:
        return otherwise
