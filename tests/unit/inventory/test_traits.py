from __future__ import annotations

import os_traits
import pytest

from nova_lite.inventory import traits

HOST = {
    "arch": "x86_64",
    "topology": {"threads": 1},
    "features": ["avx512-vpopcntdq", "sse4.1", "svm", "aes", "avx2", "lahf_lm"],
}


def test_features_become_traits_of_os_traits() -> None:
    """Renamed, same-named and double ones; a feature without a trait is skipped."""
    assert traits.cpu_traits(HOST) == {
        "HW_CPU_X86_AVX512VPOPCNTDQ",
        "HW_CPU_X86_SSE41",
        "HW_CPU_X86_SVM",
        "HW_CPU_X86_AMD_SVM",
        "HW_CPU_X86_AESNI",
        "HW_CPU_X86_AVX2",
    }


def test_every_trait_that_can_be_reported_exists() -> None:
    """The library os-traits defines which names Placement takes."""
    names = traits._X86_TRAITS | traits.ALWAYS | {traits.DISABLED, traits.HYPERTHREADING}

    assert names <= set(os_traits.get_traits())


def test_threads_and_other_architectures() -> None:
    """Hyper-threading is a trait; x86 features of another architecture are none."""
    cpu = {"arch": "aarch64", "topology": {"threads": 2}, "features": ["aes"]}

    assert traits.cpu_traits(cpu) == {"HW_CPU_HYPERTHREADING"}
    assert traits.cpu_traits({}) == frozenset()


@pytest.mark.parametrize(
    ("virt_type", "mode", "flags", "expected"),
    [
        ("kvm", None, (), HOST["features"]),
        ("qemu", "host-passthrough", ("-AVX2",), [f for f in HOST["features"] if f != "avx2"]),
        ("qemu", None, (), ["mmx", "pni", "sse", "sse2", "svm"]),
        ("kvm", "none", (), ["mmx", "pni", "sse", "sse2", "svm"]),
        ("kvm", "custom", ("+pcid", "VMX"), ["pcid", "vmx"]),
    ],
)
def test_guests_see_the_host_cpu_only_if_they_get_it(
    virt_type: str, mode: str | None, flags: tuple[str, ...], expected: list[str]
) -> None:
    """An emulated guest has no AVX, whatever the host has."""
    found = traits.guest_cpu(HOST, virt_type, mode, flags)

    assert found["features"] == sorted(expected)
    assert found["arch"] == "x86_64"


@pytest.mark.parametrize(
    ("trait", "ours"),
    [
        ("COMPUTE_NODE", True),
        ("OWNER_NOVA", True),
        ("HW_ARCH_X86_64", True),
        ("HW_CPU_X86_AVX", True),
        ("HW_CPU_X86_INTEL_TDX", False),
        ("HW_NIC_SRIOV", False),
        ("CUSTOM_COMPUTE_NODE", False),
        ("COMPUTE_REMOTE_MANAGED_PORTS", False),
    ],
)
def test_who_owns_a_trait(trait: str, ours: bool) -> None:
    """Operators' own traits survive every report."""
    assert traits.own(trait) is ours
