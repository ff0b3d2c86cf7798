"""Whether guests of another host's CPU can run here: libvirt compares."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.errors import CpuIncompatible

# With this flag the error of libvirt names what is missing.
_FLAGS = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
_REFUSALS = (
    libvirt.VIR_ERR_CPU_INCOMPATIBLE,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_INTERNAL_ERROR,  # a model that it does not know
    libvirt.VIR_ERR_XML_DETAIL,
)
_SIZES = ("sockets", "cores", "threads")


class CpuComparison(Calls):
    """The comparison of the hypervisor contract; see ``drivers/hypervisor/live_migrations.py``."""

    _virt_type: str

    def compare_cpu(self, cpu: Mapping[str, Any]) -> None:
        arch, text = cpu.get("arch"), cpu_xml(cpu)
        refusal = self._call("compare CPUs", lambda c: self._refusal(c, arch, text))
        if refusal:
            raise CpuIncompatible(refusal)

    def _refusal(self, connection: Any, arch: str | None, text: str) -> str:
        """Why not; empty: it can."""
        try:
            found = connection.compareHypervisorCPU(
                None, arch, None, self._virt_type, text, _FLAGS
            )
        except libvirt.libvirtError as error:
            code = error.get_error_code()
            if code == libvirt.VIR_ERR_NO_SUPPORT:
                return ""  # as on aarch64: the other host's libvirt finds out while it migrates
            if code in _REFUSALS:
                return str(error.get_error_message())
            raise
        return "" if found > libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else "it lacks features"


def cpu_xml(cpu: Mapping[str, Any]) -> str:
    """``<cpu>`` as in libvirt's capabilities."""
    root = ET.Element("cpu")
    for name in ("arch", "model", "vendor"):
        if cpu.get(name):
            add(root, name, cpu[name])
    sizes = cpu.get("topology") or {}
    if all(name in sizes for name in _SIZES):
        add(root, "topology", **{name: sizes[name] for name in _SIZES})
    for feature in sorted(cpu.get("features") or ()):
        add(root, "feature", name=feature)
    return ET.tostring(root, encoding="unicode")
