"""CPU, memory placement and clock of a domain (libvirt: Domain XML format)."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.model.cpuset import format_cpus
from nova_lite.model.domain import CpuSpec, CpuTune, DomainSpec, MemoryBacking

X86 = ("x86_64", "i686")


def add_cpu(root: ET.Element, cpu: CpuSpec) -> None:
    """``<cpu>``: model, topology, features and the guest's NUMA cells."""
    mode = None if cpu.mode == "none" else cpu.mode
    element = add(root, "cpu", mode=mode, match=cpu.match)
    if cpu.model:
        add(element, "model", cpu.model)
    add(element, "topology", sockets=cpu.sockets, cores=cpu.cores, threads=cpu.threads)
    if cpu.maxphysaddr:
        kind, bits = cpu.maxphysaddr
        add(element, "maxphysaddr", mode=kind, bits=bits)
    for policy, name in cpu.features:
        add(element, "feature", name=name, policy=policy)
    if cpu.numa_cells:
        numa = add(element, "numa")
        for cell in cpu.numa_cells:
            add(
                numa,
                "cell",
                id=cell.id,
                cpus=format_cpus(cell.cpus) or None,
                memory=cell.memory_kib,
                unit="KiB",
                memAccess="shared" if cell.shared_memory else None,
            )


def add_cputune(root: ET.Element, tune: CpuTune, iothreads: int) -> None:
    """``<cputune>``, when there is anything to tune."""
    element = ET.Element("cputune")
    for name, value in (
        ("shares", tune.shares),
        ("period", tune.period_us),
        ("quota", tune.quota_us),
    ):
        if value is not None:
            add(element, name, value)
    for vcpu in sorted(tune.pins):
        add(element, "vcpupin", vcpu=vcpu, cpuset=format_cpus(tune.pins[vcpu]))
    if tune.emulator_pin:
        emulator = format_cpus(tune.emulator_pin)
        add(element, "emulatorpin", cpuset=emulator)
        # I/O threads stay off the guest's own CPUs, as the emulator does.
        for number in range(1, iothreads + 1):
            add(element, "iothreadpin", iothread=number, cpuset=emulator)
    if tune.realtime:
        add(
            element,
            "vcpusched",
            vcpus=format_cpus(tune.realtime),
            scheduler="fifo",
            priority=tune.realtime_priority,
        )
    if len(element):
        root.append(element)


def add_numatune(root: ET.Element, cpu: CpuSpec) -> None:
    """``<numatune>``: host nodes that the memory of placed cells must come from."""
    placed = [cell for cell in cpu.numa_cells if cell.host_node is not None]
    if not placed:
        return
    element = add(root, "numatune")
    nodes = format_cpus(cell.host_node for cell in placed if cell.host_node is not None)
    add(element, "memory", mode="strict", nodeset=nodes)
    for cell in placed:
        add(element, "memnode", cellid=cell.id, mode="strict", nodeset=cell.host_node)


def add_memory_backing(root: ET.Element, backing: MemoryBacking) -> None:
    """``<memoryBacking>``, when memory is anything but ordinary."""
    element = ET.Element("memoryBacking")
    if backing.pages:
        pages = add(element, "hugepages")
        for size_kib, cells in backing.pages:
            add(pages, "page", size=size_kib, unit="KiB", nodeset=format_cpus(cells) or None)
    if backing.nosharepages:
        add(element, "nosharepages")
    if backing.locked:
        add(element, "locked")
    if backing.file_backed:
        add(element, "source", type="file")
        add(element, "access", mode="shared")
        add(element, "allocation", mode="immediate")
    elif backing.shared:
        if not backing.pages:
            add(element, "source", type="memfd")
        add(element, "access", mode="shared")
    if backing.discard:
        add(element, "discard")
    if len(element):
        root.append(element)


def add_clock(root: ET.Element, spec: DomainSpec) -> None:
    """``<clock>``; the timers make KVM guests keep time and mean nothing to emulated ones."""
    clock = add(root, "clock", offset=spec.clock_offset)
    if spec.virt_type != "kvm":
        return
    if spec.arch in X86:
        add(clock, "timer", name="pit", tickpolicy="delay")
    add(clock, "timer", name="rtc", tickpolicy="catchup")
    if spec.arch in X86:
        add(clock, "timer", name="hpet", present="yes" if spec.hpet else "no")
    if spec.hyperv:
        add(clock, "timer", name="hypervclock", present="yes")
