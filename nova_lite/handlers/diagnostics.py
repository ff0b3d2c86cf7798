"""Diagnostics of a running server: a flat dictionary up to microversion 2.47, an object since."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from nova_lite.errors import ServerInvalidState
from nova_lite.model.diagnostics import DiskStats, GuestStats, NicStats
from nova_lite.model.states import PowerState
from nova_lite.services.power_state import power_state
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

VERSION = "1.0"  # of Diagnostics and of all that is nested in it
KIB_PER_MIB = 1024


class Diagnostics:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def get_diagnostics(
        self, context: RequestContext, instance: WireObject, **_ignored: Any
    ) -> dict[str, int]:
        """The counters as a flat dictionary, named after libvirt's devices."""
        stats = self._stats(instance)
        found = {f"cpu{cpu}_time": used for cpu, used in stats.cpu_ns.items()}
        for disk in stats.disks:
            found |= _prefixed(
                disk.target,
                read_req=disk.read_requests,
                read=disk.read_bytes,
                write_req=disk.write_requests,
                write=disk.write_bytes,
                errors=disk.errors,
            )
        for nic in stats.nics:
            found |= _prefixed(
                nic.device,
                rx=nic.rx_bytes,
                rx_packets=nic.rx_packets,
                rx_errors=nic.rx_errors,
                rx_drop=nic.rx_dropped,
                tx=nic.tx_bytes,
                tx_packets=nic.tx_packets,
                tx_errors=nic.tx_errors,
                tx_drop=nic.tx_dropped,
            )
        found["memory"] = stats.max_memory_kib
        return found | {f"memory-{name}": value for name, value in stats.memory.items()}

    def get_instance_diagnostics(
        self, context: RequestContext, instance: WireObject, **_ignored: Any
    ) -> WireObject:
        """The same as a Diagnostics object. Memory is in MiB, as the API documents it."""
        stats, conf = self._stats(instance), self._tools.conf
        cpus = [
            _object("CpuDiagnostics", id=cpu, time=used, utilisation=None)
            for cpu, used in stats.cpu_ns.items()
        ]
        nics = [_nic(nic) for nic in stats.nics]
        disks = [_disk(disk) for disk in stats.disks]
        return _object(
            "Diagnostics",
            state=stats.state.name.lower(),
            driver="libvirt",
            hypervisor=conf.libvirt.virt_type,
            hypervisor_os="linux",
            uptime=_seconds_since(str(instance["launched_at"])),
            config_drive=bool(instance.get("config_drive")),
            memory_details=_object(
                "MemoryDiagnostics",
                maximum=stats.max_memory_kib // KIB_PER_MIB,
                used=stats.memory_kib // KIB_PER_MIB,
            ),
            cpu_details=cpus,
            nic_details=nics,
            disk_details=disks,
            num_cpus=len(cpus),
            num_nics=len(nics),
            num_disks=len(disks),
        )

    def _stats(self, instance: WireObject) -> GuestStats:
        """:raises ServerInvalidState: the guest does not run"""
        uuid = str(instance["uuid"])
        state = power_state(self._tools.hypervisor, uuid)
        if state != PowerState.RUNNING:
            name = "pending" if state == PowerState.NOSTATE else state.name.lower()
            raise ServerInvalidState(
                f"Instance {uuid} in power state {name}. Cannot get_diagnostics while the "
                "instance is in this state.",
                attr="power state",
                state=name,
            )
        return self._tools.hypervisor.stats(uuid)


def _prefixed(device: str, **counters: int) -> dict[str, int]:
    return {f"{device}_{name}": value for name, value in counters.items()}


def _disk(disk: DiskStats) -> WireObject:
    return _object(
        "DiskDiagnostics",
        read_bytes=disk.read_bytes,
        read_requests=disk.read_requests,
        write_bytes=disk.write_bytes,
        write_requests=disk.write_requests,
        errors_count=disk.errors,
    )


def _nic(nic: NicStats) -> WireObject:
    return _object(
        "NicDiagnostics",
        mac_address=nic.mac,
        rx_octets=nic.rx_bytes,
        rx_errors=nic.rx_errors,
        rx_drop=nic.rx_dropped,
        rx_packets=nic.rx_packets,
        rx_rate=None,
        tx_octets=nic.tx_bytes,
        tx_errors=nic.tx_errors,
        tx_drop=nic.tx_dropped,
        tx_packets=nic.tx_packets,
        tx_rate=None,
    )


def _object(name: str, **fields: Any) -> WireObject:
    return WireObject.new(name, VERSION, **fields)


def _seconds_since(time: str) -> int:
    return int((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())
