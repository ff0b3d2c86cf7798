"""What libvirt says about the host, from its capabilities XML (libvirt: Driver capabilities)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nova_lite.drivers.hypervisor.libvirt.xml_tools import child_text
from nova_lite.errors import HypervisorError
from nova_lite.model.cpuset import parse_cpus
from nova_lite.model.host import NumaCell


@dataclass(frozen=True)
class HostCapabilities:
    """The parts of libvirt's capabilities that matter here.

    ``cpu`` is ComputeNode.cpu_info; ``machines`` lists the machine types by architecture, in
    libvirt's order; ``guests`` are (architecture, domain type, os type).
    """

    uuid: str
    arch: str
    cpu: dict[str, Any]
    cpu_xml: str
    numa_cells: tuple[NumaCell, ...]
    guests: tuple[tuple[str, str, str], ...]
    machines: dict[str, tuple[str, ...]]


def parse(xml: str) -> HostCapabilities:
    """Read libvirt's capabilities XML.

    :raises HypervisorError: it has no host CPU, as on hosts that libvirt does not know
    """
    root = ET.fromstring(xml)
    host = root.find("host")
    cpu = host.find("cpu") if host is not None else None
    arch = child_text(cpu, "arch")
    if host is None or cpu is None or arch is None:
        raise HypervisorError("libvirt does not know the CPU of this host (see virsh capabilities)")
    cells = tuple(_cell(element) for element in host.findall("topology/cells/cell"))
    guests, machines = _guests(root.findall("guest"))
    return HostCapabilities(
        uuid=child_text(host, "uuid") or "",
        arch=arch,
        cpu=_cpu_info(cpu, arch, cells),
        cpu_xml=ET.tostring(cpu, encoding="unicode"),
        numa_cells=cells,
        guests=guests,
        machines=machines,
    )


def _cpu_info(cpu: ET.Element, arch: str, cells: tuple[NumaCell, ...]) -> dict[str, Any]:
    topology = cpu.find("topology")
    numbers = topology.attrib if topology is not None else {}
    info: dict[str, Any] = {
        "arch": arch,
        "model": child_text(cpu, "model"),
        "vendor": child_text(cpu, "vendor"),
        "topology": {
            "cells": len(cells) or 1,
            "sockets": int(numbers.get("sockets", 1)),
            "cores": int(numbers.get("cores", 1)),
            "threads": int(numbers.get("threads", 1)),
        },
        "features": sorted(f.get("name", "") for f in cpu.findall("feature")),
    }
    address = cpu.find("maxphysaddr")
    if address is not None:
        # The scheduler and live migration ask for it when guests want all address bits.
        info["maxphysaddr"] = {
            "mode": address.get("mode"),
            "bits": int(address.get("bits", 0)) or None,
        }
    return info


def _cell(element: ET.Element) -> NumaCell:
    cpus = element.findall("cpus/cpu")
    numbers = frozenset(int(cpu.get("id", -1)) for cpu in cpus)
    siblings = {
        parse_cpus(cpu.get("siblings", "")) & numbers for cpu in cpus if cpu.get("siblings")
    }
    sockets = {int(cpu.get("socket_id", 0)) for cpu in cpus if cpu.get("socket_id")}
    return NumaCell(
        id=int(element.get("id", 0)),
        memory_kib=int(child_text(element, "memory") or 0),
        cpus=numbers,
        siblings=tuple(sorted(siblings, key=sorted)),
        pages={int(page.get("size", 0)): int(page.text or 0) for page in element.findall("pages")},
        socket=min(sockets) if sockets else None,
    )


def _guests(
    elements: Iterable[ET.Element],
) -> tuple[tuple[tuple[str, str, str], ...], dict[str, tuple[str, ...]]]:
    guests: list[tuple[str, str, str]] = []
    machines: dict[str, dict[str, None]] = {}
    for element in elements:
        os_type = child_text(element, "os_type") or "hvm"
        arch = element.find("arch")
        if arch is None:
            continue
        name = arch.get("name", "")
        guests += [(name, domain.get("type", ""), os_type) for domain in arch.findall("domain")]
        # Types can be listed for the architecture and again for each domain type.
        known = machines.setdefault(name, {})
        known.update(dict.fromkeys(m.text for m in arch.iter("machine") if m.text))
    return tuple(guests), {arch: tuple(known) for arch, known in machines.items()}


def expanded_features(xml: str) -> list[str]:
    """Names of the features in a CPU that libvirt has expanded."""
    return sorted(
        feature.get("name", "")
        for feature in ET.fromstring(xml).findall("feature")
        if feature.get("policy") != "disable"
    )


def present_cpus(cpu_map: tuple[int, list[bool], int]) -> frozenset[int]:
    """CPUs of the host, online or not, from virNodeGetCPUMap."""
    return frozenset(range(cpu_map[0]))


def online_cpus(cpu_map: tuple[int, list[bool], int]) -> frozenset[int]:
    """CPU ids from what virConnect.getCPUMap returns."""
    return frozenset(number for number, online in enumerate(cpu_map[1]) if online)
