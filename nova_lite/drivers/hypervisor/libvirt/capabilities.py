"""What guests can be given here, from libvirt's domain capabilities, and the traits that say so.

Names of traits are those of the os-traits library. Only what this agent really does is claimed.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nova_lite.model import tpm

# Image formats that the agent boots from.
IMAGE_TYPES = ("AKI", "AMI", "ARI", "ISO", "QCOW2", "RAW")

# Always so with the libvirt and QEMU versions that are accepted at all.
ALWAYS = frozenset(
    {
        "COMPUTE_NODE",
        "OWNER_NOVA",
        "COMPUTE_DEVICE_TAGGING",
        "COMPUTE_NET_ATTACH_INTERFACE",
        "COMPUTE_NET_ATTACH_INTERFACE_WITH_TAG",
        "COMPUTE_NET_VIRTIO_PACKED",
        "COMPUTE_RESCUE_BFV",
        "COMPUTE_VOLUME_ATTACH_WITH_TAG",
        "COMPUTE_VOLUME_EXTEND",
        "COMPUTE_VOLUME_MULTI_ATTACH",
        *(f"COMPUTE_IMAGE_TYPE_{name}" for name in IMAGE_TYPES),
    }
)
# Claimed as soon as the operations behind them exist: COMPUTE_SAME_HOST_COLD_MIGRATE,
# COMPUTE_TRUSTED_CERTS.

# Architecture as libvirt names it -> ending of HW_ARCH_ and COMPUTE_ARCH_.
ARCHITECTURES: Mapping[str, str] = {
    "aarch64": "AARCH64",
    "mipsel": "MIPSEL",
    "ppc64le": "PPC64LE",
    "riscv64": "RISCV64",
    "s390x": "S390X",
    "x86_64": "X86_64",
}
# os-traits knows guests of these, but no hosts.
NO_HOST_TRAIT = ("riscv64",)

# Device model of QEMU -> traits. libvirt does not say which network models QEMU has.
VIF_MODELS: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("E1000", "E1000E", "NE2K_PCI", "PCNET", "RTL8139", "VIRTIO", "VMXNET3"),
    "i686": ("E1000", "E1000E", "NE2K_PCI", "PCNET", "RTL8139", "VIRTIO", "VMXNET3"),
    "aarch64": ("E1000", "E1000E", "RTL8139", "VIRTIO"),
    "ppc64le": ("E1000", "RTL8139", "SPAPR_VLAN", "VIRTIO"),
    "s390x": ("VIRTIO",),
}
GRAPHICS_MODELS = ("bochs", "cirrus", "gop", "none", "qxl", "vga", "virtio", "vmvga", "xen")
STORAGE_BUSES = ("fdc", "ide", "sata", "scsi", "usb", "virtio")
SOUND_MODELS = ("ac97", "es1370", "ich6", "ich9", "pcspk", "sb16", "usb")
# Models of virtual IOMMU by architecture.
VIOMMU_MODELS: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("AUTO", "INTEL", "VIRTIO"),
    "aarch64": ("AUTO", "SMMUV3", "VIRTIO"),
}
VIRTIO_IOMMU_SINCE = 8_003_000  # libvirt 8.3.0
# Descriptions of programs that serve devices of guests; libvirt looks for virtiofsd there.
VHOST_USER = (Path("/etc/qemu/vhost-user"), Path("/usr/share/qemu/vhost-user"))
# What came later than the oldest versions accepted, as (trait, libvirt, QEMU).
LATER = (
    ("COMPUTE_ADDRESS_SPACE_EMULATED", 8_007_000, 2_007_000),
    ("COMPUTE_ADDRESS_SPACE_PASSTHROUGH", 8_007_000, 2_007_000),
    ("COMPUTE_SECURITY_STATELESS_FIRMWARE", 8_006_000, 0),
    ("COMPUTE_NET_VIF_MODEL_IGB", 9_003_000, 8_000_000),
    ("COMPUTE_SOUND_MODEL_VIRTIO", 10_004_000, 8_002_000),
)

# Machine types that stock nova-compute uses where neither image nor nova.conf names one.
DEFAULT_MACHINES: Mapping[str, str] = {
    "x86_64": "pc",
    "i686": "pc",
    "aarch64": "virt",
    "armv7l": "virt",
    "ppc64le": "pseries",
    "s390x": "s390-ccw-virtio",
}


@dataclass(frozen=True)
class DomainCapabilities:
    """What one kind of guest (architecture, machine type, domain type) can have."""

    disk_buses: frozenset[str] = frozenset()
    video_models: frozenset[str] = frozenset()
    tpm_models: frozenset[str] = frozenset()
    tpm_versions: frozenset[str] = frozenset()
    firmware: frozenset[str] = frozenset()
    loader_secure: bool = False
    filesystems: frozenset[str] = frozenset()
    cpu_modes: frozenset[str] = frozenset()
    host_model: str | None = field(default=None, compare=False)

    def __or__(self, other: DomainCapabilities) -> DomainCapabilities:
        """Capabilities of either."""
        return DomainCapabilities(
            disk_buses=self.disk_buses | other.disk_buses,
            video_models=self.video_models | other.video_models,
            tpm_models=self.tpm_models | other.tpm_models,
            tpm_versions=self.tpm_versions | other.tpm_versions,
            firmware=self.firmware | other.firmware,
            loader_secure=self.loader_secure or other.loader_secure,
            filesystems=self.filesystems | other.filesystems,
            cpu_modes=self.cpu_modes | other.cpu_modes,
            host_model=self.host_model or other.host_model,
        )


def parse(xml: str) -> DomainCapabilities:
    """Read libvirt's domain capabilities XML."""
    root = ET.fromstring(xml)
    modes = {
        mode.get("name", ""): mode
        for mode in root.findall("cpu/mode")
        if mode.get("supported") == "yes"
    }
    return DomainCapabilities(
        disk_buses=_enum(root, "devices/disk", "bus"),
        video_models=_enum(root, "devices/video", "modelType"),
        tpm_models=_enum(root, "devices/tpm", "model") if _emulates_tpm(root) else frozenset(),
        tpm_versions=_enum(root, "devices/tpm", "backendVersion"),
        firmware=_enum(root, "os", "firmware"),
        loader_secure="yes" in _enum(root, "os/loader", "secure"),
        filesystems=_enum(root, "devices/filesystem", "driverType"),
        cpu_modes=frozenset(modes),
        host_model=_host_model(modes.get("host-model")),
    )


def _emulates_tpm(root: ET.Element) -> bool:
    """Whether libvirt has found swtpm."""
    return "emulator" in _enum(root, "devices/tpm", "backendModel")


def _enum(root: ET.Element, path: str, name: str) -> frozenset[str]:
    """Values that an element offers; none where it says that it is not supported at all."""
    element = root.find(path)
    if element is None or element.get("supported") == "no":
        return frozenset()
    return frozenset(
        value.text or ""
        for enum in element.findall("enum")
        if enum.get("name") == name
        for value in enum.findall("value")
    )


def _host_model(mode: ET.Element | None) -> str | None:
    """The CPU that host-model stands for, in the form that libvirt takes as a guest CPU."""
    if mode is None or mode.find("model") is None:
        return None
    cpu = ET.Element("cpu", {"mode": "custom", "match": "exact"})
    cpu.extend(mode.findall("model") + mode.findall("vendor") + mode.findall("feature"))
    return ET.tostring(cpu, encoding="unicode")


def traits(
    arch: str,
    guests: Iterable[tuple[str, str, str]],
    domain: DomainCapabilities,
    libvirt_version: int,
    qemu_version: int,
) -> frozenset[str]:
    """Placement traits of this host, CPU features aside.

    :param arch: of the host
    :param guests: (architecture, domain type, os type) that can run
    :param domain: what the guests of nova.conf's virt_type can have
    """
    found = set(ALWAYS)
    if arch in ARCHITECTURES and arch not in NO_HOST_TRAIT:
        found.add(f"HW_ARCH_{ARCHITECTURES[arch]}")
    found.update(f"COMPUTE_ARCH_{ARCHITECTURES[g[0]]}" for g in guests if g[0] in ARCHITECTURES)
    found |= _models("COMPUTE_STORAGE_BUS_", domain.disk_buses & set(STORAGE_BUSES))
    found |= _models("COMPUTE_GRAPHICS_MODEL_", domain.video_models & set(GRAPHICS_MODELS))
    found |= _models("COMPUTE_NET_VIF_MODEL_", VIF_MODELS.get(arch, ()))
    found |= _models("COMPUTE_SOUND_MODEL_", SOUND_MODELS)
    for model in VIOMMU_MODELS.get(arch, ()):
        if model != "VIRTIO" or libvirt_version >= VIRTIO_IOMMU_SINCE:
            found.add(f"COMPUTE_VIOMMU_MODEL_{model}")
    for trait, libvirt_since, qemu_since in LATER:
        if libvirt_version >= libvirt_since and qemu_version >= qemu_since:
            found.add(trait)
    if secure_boot(domain):
        found.add("COMPUTE_SECURITY_UEFI_SECURE_BOOT")
    return frozenset(found)


def tpm_traits(domain: DomainCapabilities, modes: Iterable[str]) -> frozenset[str]:
    """Placement traits of emulated TPMs; none where libvirt finds no swtpm.

    Before 8.6 libvirt does not say which versions swtpm emulates; it emulates both.

    :param modes: [libvirt]supported_tpm_secret_security
    """
    if not domain.tpm_models:
        return frozenset()
    versions = domain.tpm_versions or {"1.2", "2.0"}
    names = {model.removeprefix("tpm-") for model in domain.tpm_models & {"tpm-tis", "tpm-crb"}}
    names |= {version.replace(".", "_") for version in versions & {"1.2", "2.0"}}
    names |= {f"secret_security_{mode}" for mode in modes if mode in tpm.MODES}
    return frozenset(_models("COMPUTE_SECURITY_TPM_", names))


def share_traits(
    domain: DomainCapabilities,
    file_backed: bool,
    directories: Iterable[Path] = VHOST_USER,
) -> frozenset[str]:
    """Placement traits that tell whether guests can have shares.

    :param file_backed: the memory of all guests is in files, which virtiofsd can map, too
    :param directories: where libvirt looks for programs like virtiofsd
    """
    found = {"COMPUTE_MEM_BACKING_FILE"} if file_backed else set()
    if "virtiofs" in domain.filesystems and any(map(_serves_files, _programs(directories))):
        found.add("COMPUTE_STORAGE_VIRTIO_FS")
    return frozenset(found)


def _programs(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        yield from sorted(directory.glob("*.json"))


def _serves_files(description: Path) -> bool:
    """Whether a back end of vhost-user is virtiofsd, and there."""
    try:
        said = json.loads(description.read_text())
        return said["type"] == "fs" and os.access(said["binary"], os.X_OK)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _models(prefix: str, names: Iterable[str]) -> set[str]:
    return {prefix + name.upper().replace("-", "_") for name in names}


def secure_boot(domain: DomainCapabilities) -> bool:
    return domain.loader_secure and "efi" in domain.firmware


def machine_types(
    machines: Mapping[str, tuple[str, ...]], configured: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Machine types by architecture, the one for guests that ask for none first.

    :param machines: what libvirt offers
    :param configured: ``[libvirt]hw_machine_type``, entries like ``x86_64=q35``
    """
    wanted = dict(DEFAULT_MACHINES)
    for entry in configured:
        arch, _, machine = entry.partition("=")
        if machine:
            wanted[arch.strip()] = machine.strip()
    result = {}
    for arch, known in machines.items():
        default = wanted.get(arch)
        first = (default,) if default in known else ()
        result[arch] = first + tuple(sorted(name for name in known if name != default))
    return result


def representative(arch: str, machines: tuple[str, ...]) -> tuple[str, ...]:
    """The machine types to ask libvirt about: together they show all that guests can have.

    :param machines: those of ``arch``, the default one first
    """
    extra = ("pc", "q35") if arch in ("x86_64", "i686") else ()
    return tuple(dict.fromkeys(machines[:1] + tuple(name for name in extra if name in machines)))


def has_cpu_cgroup(root: Path = Path("/sys/fs/cgroup"), mounts: Path | None = None) -> bool:
    """Whether the kernel can limit the CPU time of guests: cgroup v2's cpu controller, or v1's."""
    try:
        if "cpu" in (root / "cgroup.controllers").read_text().split():
            return True
    except OSError:
        pass
    try:
        lines = (mounts or Path("/proc/self/mounts")).read_text().splitlines()
    except OSError:
        return False
    fields = (line.split() for line in lines)
    return any(f[2] == "cgroup" and "cpu" in f[3].split(",") for f in fields if len(f) > 3)
