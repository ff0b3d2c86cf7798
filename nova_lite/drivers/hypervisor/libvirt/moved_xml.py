"""The XML of a running guest as it must be for another host.

Whatever the guest sees stays: addresses, models, queues, MTU. What is changed is where the other
host has it. Elements that this agent knows nothing of are kept.
https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.moved_devices import (
    move_disk,
    move_nic,
    move_rbd_disk,
    volume_of,
)
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.errors import HypervisorError
from nova_lite.model.cpuset import format_cpus
from nova_lite.model.domain import CpuTune
from nova_lite.model.live_migration import GuestChanges

# What makes memory a file of the host.
_FILE_BACKED = ("source", "access", "allocation", "discard")


def moved(xml: str, changes: GuestChanges) -> str:
    """The domain of ``xml`` on the other host.

    :param xml: of the running domain (VIR_DOMAIN_XML_MIGRATABLE)
    :raises HypervisorError: the guest has not what changes
    :raises VifTypeUnsupported: a network card cannot be expressed
    """
    root = ET.fromstring(xml)
    _move_graphics(root, changes)
    if changes.serial is not None:
        _move_serial_ports(root, *changes.serial)
    _move_disks(root, changes)
    _move_nics(root, changes)
    if changes.cpuset is not None:
        _move_cpuset(root, changes.cpuset)
    if changes.pins is not None:
        _move_pins(root, changes.pins)
    if changes.memory_nodes:
        _move_memory(root, changes)
    if changes.drop_cpu_shares:
        _drop_cpu_shares(root)
    if changes.perf_events is not None:
        _move_perf_events(root, changes.perf_events)
    if changes.file_backed_memory is not None:
        _back_memory(root, file_backed=changes.file_backed_memory)
    return ET.tostring(root, encoding="unicode")


def _move_graphics(root: ET.Element, changes: GuestChanges) -> None:
    for graphics in root.findall("devices/graphics"):
        address = changes.listen.get(graphics.get("type", ""))
        if address is None:
            continue
        if graphics.get("listen") is not None:
            graphics.set("listen", address)
        for listen in graphics.findall("listen[@type='address']"):
            listen.set("address", address)


def _move_serial_ports(root: ET.Element, address: str, ports: tuple[int, ...]) -> None:
    """The console is the first serial port told once more."""
    for kind in ("serial", "console"):
        for device in root.findall(f"devices/{kind}[@type='tcp']"):
            source, target = device.find("source"), device.find("target")
            if source is None:
                continue
            source.set("host", address)
            number = int(target.get("port", "0")) if target is not None else 0
            if number < len(ports):
                source.set("service", str(ports[number]))


def _move_disks(root: ET.Element, changes: GuestChanges) -> None:
    missing = set(changes.volumes)
    for disk in root.findall("devices/disk"):
        volume = volume_of(disk)
        if volume is not None and volume in changes.volumes:
            move_disk(disk, changes.volumes[volume])
            missing.discard(volume)
        elif volume is None and changes.monitors is not None:
            move_rbd_disk(disk, changes.monitors)
    if missing:
        raise HypervisorError(f"the guest does not have volume {', '.join(sorted(missing))}")


def _move_nics(root: ET.Element, changes: GuestChanges) -> None:
    missing = {mac.lower(): nic for mac, nic in changes.nics.items()}
    for interface in root.findall("devices/interface"):
        mac = interface.find("mac")
        nic = missing.pop(mac.get("address", "").lower(), None) if mac is not None else None
        if nic is not None:
            move_nic(interface, nic)
    if missing:
        raise HypervisorError(
            f"the guest does not have the network card {', '.join(sorted(missing))}"
        )


def _move_cpuset(root: ET.Element, cpuset: frozenset[int]) -> None:
    vcpu = root.find("vcpu")
    if vcpu is not None:
        vcpu.attrib.pop("cpuset", None)
        if cpuset:
            vcpu.set("cpuset", format_cpus(cpuset))


def _move_pins(root: ET.Element, tune: CpuTune) -> None:
    """:raises HypervisorError: the guest has no CPU of that number"""
    cputune = root.find("cputune")
    if cputune is None:
        cputune = add(root, "cputune")
    for vcpu, cpus in sorted(tune.pins.items()):
        pin = cputune.find(f"vcpupin[@vcpu='{vcpu}']")
        if pin is None:
            raise HypervisorError(f"the guest's CPU {vcpu} is not pinned, and is to be now")
        pin.set("cpuset", format_cpus(cpus))
    if tune.emulator_pin:
        places = format_cpus(tune.emulator_pin)
        for pin in (*cputune.findall("emulatorpin"), *cputune.findall("iothreadpin")):
            pin.set("cpuset", places)
    if tune.realtime:
        for old in cputune.findall("vcpusched"):
            cputune.remove(old)
        add(
            cputune,
            "vcpusched",
            vcpus=format_cpus(tune.realtime),
            scheduler="fifo",
            priority=tune.realtime_priority,
        )


def _move_memory(root: ET.Element, changes: GuestChanges) -> None:
    for cell, nodes in changes.memory_nodes.items():
        node = root.find(f"numatune/memnode[@cellid='{cell}']")
        if node is None:
            raise HypervisorError(f"the guest's NUMA node {cell} has no place of its own")
        node.set("nodeset", format_cpus(nodes))
    memory = root.find("numatune/memory")
    if memory is not None:
        memory.set("nodeset", format_cpus(frozenset().union(*changes.memory_nodes.values())))


def _drop_cpu_shares(root: ET.Element) -> None:
    cputune = root.find("cputune")
    shares = cputune.find("shares") if cputune is not None else None
    if cputune is not None and shares is not None:
        cputune.remove(shares)
        if not len(cputune):
            root.remove(cputune)


def _move_perf_events(root: ET.Element, events: tuple[str, ...]) -> None:
    for perf in root.findall("perf"):
        root.remove(perf)
    if events:
        perf = add(root, "perf")
        for event in events:
            add(perf, "event", name=event, enabled="yes")


def _back_memory(root: ET.Element, *, file_backed: bool) -> None:
    backing = root.find("memoryBacking")
    source = backing.find("source") if backing is not None else None
    if not file_backed and (source is None or source.get("type") != "file"):
        return  # memory that is shared for another reason stays so
    if backing is None:
        backing = add(root, "memoryBacking")
    for name in _FILE_BACKED:
        for old in backing.findall(name):
            backing.remove(old)
    if file_backed:
        add(backing, "source", type="file")
        add(backing, "access", mode="shared")
        add(backing, "allocation", mode="immediate")
        add(backing, "discard")
