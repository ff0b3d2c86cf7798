"""libvirt, QEMU, and whether KVM runs guests."""

from __future__ import annotations

import os
from pathlib import Path

from nova_lite.preflight import kvm_probe
from nova_lite.preflight.base import Check, Finding, failure, ok, warning
from nova_lite.preflight.env import Env
from nova_lite.preflight.kvm_probe import Outcome, Probe

KVM_DEVICE = Path("/dev/kvm")
EMULATE = (
    "set [libvirt]virt_type = qemu (emulation: slow, but it works), or give this machine working "
    "hardware virtualisation (BIOS setting, nested virtualisation)"
)


def _libvirt(env: Env) -> Finding:
    facts = env.hypervisor.facts()
    guests = len(env.hypervisor.domains())
    return ok(f"libvirt {_version(facts.libvirt_version)} on {facts.hostname}, {guests} guests")


def _qemu(env: Env) -> Finding:
    """The emulator that libvirt uses, and whether it offers the kind of guest asked for."""
    facts, wanted = env.hypervisor.facts(), env.conf.libvirt.virt_type
    text = f"{facts.hypervisor_type} {_version(facts.hypervisor_version)}"
    if not any(arch == facts.arch and kind == wanted for arch, kind, _ in facts.guests):
        offered = sorted({kind for arch, kind, _ in facts.guests if arch == facts.arch})
        return failure(
            f"{text} offers no {wanted} guests for {facts.arch}, only "
            f"{', '.join(offered) or 'none'}",
            EMULATE if wanted == "kvm" else QEMU.remedy,
        )
    if env.conf.libvirt.swtpm_enabled:
        env.hypervisor.capabilities()  # refuses without swtpm, as the start does
        text += " and swtpm"
    return ok(f"{text}, {wanted} guests for {facts.arch}")


def _kvm(env: Env) -> Finding:
    wanted = env.conf.libvirt.virt_type == "kvm"
    trouble = _kvm_trouble(kvm_probe.run("kvm") if KVM_DEVICE.exists() else None)
    if trouble is None:
        if wanted:
            return ok("runs a 64-bit probe guest")
        return warning(
            "runs a 64-bit probe guest, but [libvirt]virt_type is not kvm: guests are emulated",
            "set [libvirt]virt_type = kvm, unless emulation is wanted",
        )
    if wanted:
        return failure(trouble, EMULATE)
    return ok(f"{trouble}; not needed with virt_type={env.conf.libvirt.virt_type}")


def _kvm_trouble(probe: Probe | None) -> str | None:
    """Why guests would not run under KVM; None when they do, or when nothing speaks against it."""
    if probe is None:
        return f"{KVM_DEVICE} is not there"
    if probe.outcome is Outcome.FINISHED:
        return None
    if probe.outcome is Outcome.MISSING:
        usable = os.access(KVM_DEVICE, os.R_OK | os.W_OK)
        return None if usable else f"{KVM_DEVICE} is there, but not for this user"
    if probe.outcome is Outcome.REFUSED:
        return f"{KVM_DEVICE} is there, but QEMU does not use it: {probe.detail}"
    emulated = kvm_probe.run("tcg")
    text = f"{KVM_DEVICE} is there, but a probe guest did not finish in {probe.seconds:.0f} s"
    if emulated.outcome is Outcome.FINISHED:
        text += f" (emulated: {emulated.seconds:.1f} s)"
    return text


def _version(number: int) -> str:
    """libvirt's integer as people write it: 9000000 is 9.0.0."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


LIBVIRT = Check(
    "libvirt",
    _libvirt,
    "start libvirtd (or virtqemud), and check [libvirt]connection_uri and the agent's right to "
    "connect (group libvirt)",
)
QEMU = Check("QEMU", _qemu, "install qemu-system for this architecture", needs=("libvirt",))
KVM = Check("KVM", _kvm, EMULATE, limit_s=2 * kvm_probe.LIMIT_S + 5)
CHECKS = (LIBVIRT, QEMU, KVM)
