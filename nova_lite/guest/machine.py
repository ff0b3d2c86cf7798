"""Machine type, firmware, kernel and boot order of the guest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nova_lite.errors import InvalidGuestConfig, UnsupportedByHost
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.host import Capabilities, HostFacts
from nova_lite.model.server import Server

X86 = ("i686", "x86_64")
DEFAULT_MACHINES = {
    "aarch64": "virt",
    "armv7l": "virt",
    "i686": "pc",
    "ppc64le": "pseries",
    "s390": "s390-ccw-virtio",
    "s390x": "s390-ccw-virtio",
    "x86_64": "pc",
}
# Other names under which an image may state its architecture.
ARCH_ALIASES = {"amd64": "x86_64", "i386": "i686", "i486": "i686", "i586": "i686", "x86": "i686",
                "armv7": "armv7l", "arm64": "aarch64"}  # fmt: skip
# Every console the guest may have, so that the kernel finds one.
CONSOLES = "console=tty0 console=ttyS0 console=hvc0"


@dataclass(frozen=True)
class Machine:
    """What the guest runs on. ``virt_type`` falls to qemu when another architecture is emulated."""

    arch: str
    virt_type: str
    machine: str | None
    emulated: bool

    @property
    def is_q35(self) -> bool:
        return "q35" in (self.machine or "")


def plan_machine(
    properties: Properties, policy: HostPolicy, facts: HostFacts, capabilities: Capabilities
) -> Machine:
    """Choose architecture and machine type: image, then [libvirt] hw_machine_type, then default.

    :raises UnsupportedByHost: the host's hypervisor has no such architecture or machine type
    """
    machine, emulation = properties.image("hw_machine_type"), None
    asked = properties.image("hw_emulation_architecture")
    if asked:
        emulation = canonical_arch(asked)
    # The machine type follows the image's own architecture even when another one is emulated.
    own = canonical_arch(properties.image("hw_architecture") or facts.arch)
    arch = emulation or own
    machine = machine or policy.machine_types.get(own) or DEFAULT_MACHINES.get(own)
    emulated = arch != facts.arch
    virt_type = "qemu" if emulated else policy.virt_type
    if facts.guests and (arch, virt_type, "hvm") not in facts.guests:
        raise UnsupportedByHost(
            f"this host cannot run {arch} guests with virt_type {virt_type}; it offers "
            + ", ".join(sorted({f"{g[0]}/{g[1]}" for g in facts.guests}))
        )
    known = capabilities.machine_types.get(arch)
    if machine and known and machine not in known:
        usual = [name for name in sorted(known) if not re.search(r"-\d", name)] or sorted(known)
        raise UnsupportedByHost(
            f"machine type {machine} is not available here for {arch} (image property "
            f"hw_machine_type or [libvirt] hw_machine_type); known are {', '.join(usual)}, and "
            "versions of them"
        )
    return Machine(arch, virt_type, machine, emulated)


def canonical_arch(name: str) -> str:
    name = name.lower()
    return ARCH_ALIASES.get(name, name)


@dataclass(frozen=True)
class Firmware:
    kind: str = "bios"
    secure_boot: bool = False
    stateless: bool = False


def plan_firmware(properties: Properties, machine: Machine, capabilities: Capabilities) -> Firmware:
    """BIOS unless the image asks for UEFI or the architecture knows nothing else.

    :raises UnsupportedByHost: the host lacks UEFI or secure boot firmware
    """
    kind = properties.image("hw_firmware_type") or ("uefi" if machine.arch == "aarch64" else "bios")
    wish = properties.agreed("secure_boot", prefix="os")
    if kind == "bios":
        return Firmware()
    if "uefi" not in capabilities.firmware or not machine.machine:
        raise UnsupportedByHost(
            f"image property hw_firmware_type = uefi: this host has no UEFI firmware for "
            f"{machine.arch} machine type {machine.machine}"
        )
    # Secure boot needs SMM on x86, which only q35 has.
    able = capabilities.secure_boot and (machine.arch not in X86 or machine.is_q35)
    if wish == "required" and not able:
        raise UnsupportedByHost(
            f"os_secure_boot = required, but secure boot is not possible here with machine type "
            f"{machine.machine}"
        )
    return Firmware(
        kind,
        secure_boot=wish in ("required", "optional") and able,
        stateless=bool(properties.image("hw_firmware_stateless")),
    )


@dataclass(frozen=True)
class KernelBoot:
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None


def plan_kernel(
    server: Server, properties: Properties, policy: HostPolicy, directory: Path, root_device: str
) -> KernelBoot:
    """Direct kernel boot, when the image has a kernel.

    :raises InvalidGuestConfig: a ramdisk without a kernel
    """
    if not server.kernel_id:
        if server.ramdisk_id:
            raise InvalidGuestConfig(
                f"image {server.image.name} names a ramdisk but no kernel; set kernel_id too"
            )
        return KernelBoot()
    cmdline = f"root={root_device} {CONSOLES}"
    if policy.virt_type == "qemu":
        # Emulated timers run too unevenly for the kernel's check of them.
        cmdline += " no_timer_check"
    return KernelBoot(
        kernel=str(directory / "kernel"),
        initrd=str(directory / "ramdisk") if server.ramdisk_id else None,
        cmdline=properties.image("os_command_line") or cmdline,
    )


def boot_menu(properties: Properties) -> bool:
    """The image's word counts before the flavor's."""
    image = properties.image("hw_boot_menu")
    return bool(properties.spec("hw:boot_menu") if image is None else image)


def boot_devices(kinds: Iterable[str]) -> tuple[str, ...]:
    """libvirt's boot device classes for disk kinds in boot order, each once."""
    classes = {"disk": "hd", "lun": "hd", "cdrom": "cdrom", "floppy": "fd"}
    return tuple(dict.fromkeys(classes[kind] for kind in kinds))


def windows(properties: Properties) -> bool:
    return properties.image("os_type") == "windows"
