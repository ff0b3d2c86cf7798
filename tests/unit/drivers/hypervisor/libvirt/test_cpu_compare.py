"""Whether this host's CPU suffices: what libvirt is asked, and what its answers mean."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt.cpu_compare import CpuComparison, cpu_xml
from nova_lite.errors import CpuIncompatible, HypervisorError

CPU = {
    "arch": "x86_64", "model": "Skylake-Server", "vendor": "Intel",
    "topology": {"cells": 1, "sockets": 1, "cores": 2, "threads": 1},
    "features": {"ssse3", "avx512f"},
}  # fmt: skip


class Refusal(libvirt.libvirtError):
    def __init__(self, code, message):
        Exception.__init__(self, message)
        self.err = (code, 0, message, 2, None, None, None, 0, 0)


class Connection(CpuComparison):
    """libvirt that answers every question in the same way."""

    _virt_type = "kvm"

    def __init__(self, answer):
        self.answer, self.asked = answer, None

    def _call(self, what, function, timeout=0.0):
        try:
            return function(self)
        except libvirt.libvirtError as error:
            raise HypervisorError(str(error)) from error

    def compareHypervisorCPU(self, emulator, arch, machine, kind, xml, flags):  # noqa: N802
        self.asked = (arch, kind, xml)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_cpu_is_described_as_in_libvirts_capabilities():
    """With all of its features; what is not known is left out."""
    root = ET.fromstring(cpu_xml(CPU))
    assert [child.tag for child in root] == [
        "arch", "model", "vendor", "topology", "feature", "feature",
    ]  # fmt: skip
    assert root.find("topology").attrib == {"sockets": "1", "cores": "2", "threads": "1"}
    assert [feature.get("name") for feature in root.findall("feature")] == ["avx512f", "ssse3"]
    assert cpu_xml({"arch": "aarch64"}) == "<cpu><arch>aarch64</arch></cpu>"


@pytest.mark.parametrize(
    "answer",
    [libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET,
     Refusal(libvirt.VIR_ERR_NO_SUPPORT, "not on this architecture")],
)  # fmt: skip
def test_what_suffices(answer):
    """The same or more; where libvirt cannot compare, it does when the guest comes."""
    host = Connection(answer)
    host.compare_cpu(CPU)
    assert host.asked[:2] == ("x86_64", "kvm")


@pytest.mark.parametrize(
    ("answer", "text"),
    [(libvirt.VIR_CPU_COMPARE_INCOMPATIBLE, "lacks features"),
     (Refusal(libvirt.VIR_ERR_CPU_INCOMPATIBLE, "missing features: avx512f"), "avx512f"),
     (Refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "Unknown CPU model X"), "Unknown CPU model X")],
)  # fmt: skip
def test_what_does_not_suffice(answer, text):
    """It says what is missing, as far as libvirt does."""
    with pytest.raises(CpuIncompatible, match=text):
        Connection(answer).compare_cpu(CPU)


def test_other_errors_are_not_about_the_cpu():
    """They are the hypervisor's."""
    with pytest.raises(HypervisorError):
        Connection(Refusal(libvirt.VIR_ERR_RPC, "connection reset")).compare_cpu(CPU)
