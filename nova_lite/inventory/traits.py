"""Traits of this host in Placement: which ones are ours, and those that follow from its CPU.

Names are those of the os-traits library. The CPU features reported, and so owned, are those that
stock nova-compute reports too: a host can change agents without stale traits on either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NODE = "COMPUTE_NODE"
OWNER = "OWNER_NOVA"
DISABLED = "COMPUTE_STATUS_DISABLED"
ALWAYS = frozenset({NODE, OWNER})
HYPERTHREADING = "HW_CPU_HYPERTHREADING"

# libvirt's name of a CPU feature (its cpu_map) -> what follows HW_CPU_X86_ in os-traits.
_RENAMED: Mapping[str, tuple[str, ...]] = {
    "aes": ("AESNI",),
    "amx-bf16": ("AMXBF16",),
    "amx-int8": ("AMXINT8",),
    "amx-tile": ("AMXTILE",),
    "avx512-vpopcntdq": ("AVX512VPOPCNTDQ",),
    "bmi1": ("BMI",),
    "fma": ("FMA3",),
    "gfni": ("AVX512GFNI",),
    "pclmuldq": ("CLMUL",),
    "pni": ("SSE3",),
    "sha-ni": ("SHA",),
    "sse4.1": ("SSE41",),
    "sse4.2": ("SSE42",),
    "svm": ("SVM", "AMD_SVM"),
    "vaes": ("AVX512VAES",),
    "vmx": ("VMX", "INTEL_VMX"),
    "vpclmulqdq": ("AVX512VPCLMULQDQ",),
}
_SAME = (
    "3dnow abm avx avx2 avx512bitalg avx512bw avx512cd avx512dq avx512er avx512f avx512ifma "
    "avx512pf avx512vbmi avx512vbmi2 avx512vl avx512vnni bmi2 f16c fma4 mmx mpx sse sse2 sse4a "
    "ssse3 tbm xop"
).split()
_X86: Mapping[str, tuple[str, ...]] = {**{name: (name.upper(),) for name in _SAME}, **_RENAMED}
_X86_TRAITS = frozenset(f"HW_CPU_X86_{name}" for names in _X86.values() for name in names)

# What emulated guests get when no CPU model is asked for: qemu64, as libvirt's cpu_map lists it,
# as far as it has traits.
_QEMU64 = frozenset({"mmx", "pni", "sse", "sse2", "svm"})

# A trait below one of these says what this agent can do here: one no longer wanted goes.
_OWN_PREFIXES = ("COMPUTE_", "HW_ARCH_")
# COMPUTE_ traits that are set by others, on providers of other devices as a rule.
_FOREIGN = frozenset({"COMPUTE_MANAGED_PCI_DEVICE", "COMPUTE_REMOTE_MANAGED_PORTS"})


def own(trait: str) -> bool:
    """Whether the agent decides about this trait; others (CUSTOM_..., HW_NIC_...) stay as is."""
    if trait in _FOREIGN:
        return False
    if trait in (OWNER, HYPERTHREADING) or trait in _X86_TRAITS:
        return True
    return trait.startswith(_OWN_PREFIXES)


def image_types(formats: Iterable[str]) -> frozenset[str]:
    """The traits of disk formats.

    :param formats: as Glance names them: raw, qcow2
    """
    return frozenset(f"COMPUTE_IMAGE_TYPE_{name.upper()}" for name in formats)


def guest_cpu(
    cpu: Mapping[str, Any], virt_type: str, cpu_mode: str | None, extra_flags: Iterable[str] = ()
) -> dict[str, Any]:
    """The CPU that guests of this host see, as far as nova.conf decides it.

    :param cpu: ``HostFacts.cpu``
    :param virt_type: [libvirt]virt_type
    :param cpu_mode: [libvirt]cpu_mode; None is host-model with kvm and none with qemu
    :param extra_flags: [libvirt]cpu_model_extra_flags
    """
    mode = cpu_mode or ("host-model" if virt_type == "kvm" else "none")
    if mode in ("host-model", "host-passthrough"):
        features = set(cpu.get("features") or ())
    elif mode == "none" and cpu.get("arch") == "x86_64":
        features = set(_QEMU64)
    else:
        features = set()  # a named model: what it holds is libvirt's to know
    for flag in extra_flags:
        name = flag.lstrip("+-").lower()
        if flag.startswith("-"):
            features.discard(name)
        else:
            features.add(name)
    return {**cpu, "features": sorted(features)}


def cpu_traits(cpu: Mapping[str, Any]) -> frozenset[str]:
    """Traits that the features and threads of a CPU give.

    :param cpu: as ``HostFacts.cpu``, with the features that guests see: ``guest_cpu`` tells
    """
    found: set[str] = set()
    if cpu.get("arch") in ("x86_64", "i686"):
        for feature in cpu.get("features") or ():
            found.update(f"HW_CPU_X86_{name}" for name in _X86.get(feature, ()))
    topology = cpu.get("topology") or {}
    if int(topology.get("threads") or 1) > 1:
        found.add(HYPERTHREADING)
    return frozenset(found)
