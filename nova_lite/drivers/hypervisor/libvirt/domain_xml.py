"""A DomainSpec as libvirt's domain XML.

The result has the structure that stock nova-compute writes, so that a host can change agents with
its guests. The format is described on libvirt's page "Domain XML format".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from copy import deepcopy

from nova_lite.drivers.hypervisor.libvirt import xml_cpu, xml_metadata
from nova_lite.drivers.hypervisor.libvirt.xml_devices import add_devices
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add, child_text, on_off, yes_no
from nova_lite.model.cpuset import format_cpus
from nova_lite.model.domain import DomainSpec

# What tells Windows that it runs under a hypervisor and how to be fast there.
_HYPERV = ("vpindex", "runtime", "synic", "reset", "frequencies", "tlbflush", "ipi")
_HYPERV_SPINLOCK_RETRIES = 8191
# Any twelve characters; only drivers that refuse virtual machines look at it.
_HYPERV_VENDOR = "1234567890ab"


def render(spec: DomainSpec, existing: str | None = None) -> str:
    """Return the XML that defines ``spec``.

    :param existing: inactive XML of the guest's former definition: firmware files once chosen for
        a UEFI guest stay, because its variables belong to them
    :raises VifTypeUnsupported: a network interface cannot be expressed
    """
    root = ET.Element("domain", {"type": spec.virt_type})
    _add_basics(root, spec)
    if spec.smbios and spec.arch in xml_cpu.X86:
        system = add(add(root, "sysinfo", type="smbios"), "system")
        for name, value in spec.smbios.items():
            add(system, "entry", value, name=name)
    _add_os(root, spec)
    if spec.firmware == "uefi" and existing:
        _keep_firmware(root, ET.fromstring(existing))
    _add_features(root, spec)
    if spec.iothreads:
        add(root, "iothreads", spec.iothreads)
    xml_cpu.add_cputune(root, spec.cpu_tune, spec.iothreads)
    xml_cpu.add_clock(root, spec)
    xml_cpu.add_cpu(root, spec.cpu)
    add_devices(root, spec)
    if spec.perf_events:
        perf = add(root, "perf")
        for event in spec.perf_events:
            add(perf, "event", name=event, enabled="yes")
    return ET.tostring(root, encoding="unicode")


def _add_basics(root: ET.Element, spec: DomainSpec) -> None:
    add(root, "uuid", spec.uuid)
    add(root, "name", spec.name)
    title = " ".join(spec.title.split())  # libvirt allows no line breaks here
    if title:
        add(root, "title", title)
    add(root, "memory", spec.memory_kib, unit="KiB")
    xml_cpu.add_memory_backing(root, spec.memory_backing)
    xml_cpu.add_numatune(root, spec.cpu)
    add(root, "vcpu", spec.vcpus, cpuset=format_cpus(spec.cpuset) or None)
    metadata = xml_metadata.render(spec.metadata)
    if metadata is not None:
        root.append(metadata)


def _add_os(root: ET.Element, spec: DomainSpec) -> None:
    uefi = spec.firmware == "uefi"
    os = add(root, "os", firmware="efi" if uefi else None)
    if uefi:
        # Before 9.2.0 libvirt refuses the loader's attribute "secure" here; the feature decides.
        secure = yes_no(spec.secure_boot)
        add(add(os, "firmware"), "feature", name="secure-boot", enabled=secure)
    add(os, "type", "hvm", arch=spec.arch, machine=spec.machine)
    if spec.kernel:
        add(os, "kernel", spec.kernel)
    if uefi and spec.firmware_stateless:
        add(os, "loader", stateless="yes")
    if spec.initrd:
        add(os, "initrd", spec.initrd)
    if spec.cmdline:
        add(os, "cmdline", spec.cmdline)
    # libvirt takes either an order of its own for each device or one of kinds of devices.
    ordered = any(d.boot_order for d in spec.disks) or any(n.boot_order for n in spec.nics)
    if not ordered and not spec.kernel:
        for device in spec.boot_devices:
            add(os, "boot", dev=device)
    if spec.smbios and spec.arch in xml_cpu.X86:
        add(os, "smbios", mode="sysinfo")
    if spec.boot_menu:
        add(os, "bootmenu", enable="yes")


def _keep_firmware(root: ET.Element, existing: ET.Element) -> None:
    """Take loader and NVRAM over from the former definition, as explicit paths."""
    os, old = root.find("os"), existing.find("os")
    if os is None or old is None or not child_text(old, "loader"):
        return
    os.attrib.pop("firmware", None)
    for tag in ("firmware", "loader", "nvram"):
        for element in os.findall(tag):
            os.remove(element)
    for tag in ("loader", "nvram"):
        kept = old.find(tag)
        if kept is not None:
            os.append(deepcopy(kept))


def _add_features(root: ET.Element, spec: DomainSpec) -> None:
    features = add(root, "features")
    add(features, "acpi")
    if spec.arch in xml_cpu.X86 and spec.apic:
        add(features, "apic")
    if spec.tb_cache_mb and spec.virt_type == "qemu":
        add(add(features, "tcg"), "tb-cache", spec.tb_cache_mb, unit="MiB")
    if spec.hyperv and spec.virt_type == "kvm":  # the kernel provides it, QEMU alone cannot
        _add_hyperv(features, hide=spec.hide_hypervisor)
    if spec.arch in (*xml_cpu.X86, "aarch64"):
        add(features, "vmcoreinfo")
    if spec.hide_hypervisor:
        add(add(features, "kvm"), "hidden", state="on")
    if spec.pmu is not None:
        add(features, "pmu", state=on_off(spec.pmu))
    if spec.viommu_model and spec.arch in xml_cpu.X86:
        # Remapped interrupts need the I/O APIC that QEMU emulates, not the kernel's.
        add(features, "ioapic", driver="qemu")


def _add_hyperv(features: ET.Element, *, hide: bool) -> None:
    hyperv = add(features, "hyperv")
    add(hyperv, "relaxed", state="on")
    add(hyperv, "vapic", state="on")
    add(hyperv, "spinlocks", state="on", retries=_HYPERV_SPINLOCK_RETRIES)
    if hide:
        add(hyperv, "vendor_id", state="on", value=_HYPERV_VENDOR)
    for name in _HYPERV:
        add(hyperv, name, state="on")
