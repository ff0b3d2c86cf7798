"""A guest of 512 bytes that shows whether KVM really runs guests.

/dev/kvm may be there and libvirt may offer it while ordinary guests hang, as on machines whose own
hypervisor emulates virtualisation badly. The guest is a boot sector: the BIOS runs it, it builds
page tables, enters 64-bit mode, counts, reloads its page tables and ends QEMU through the
isa-debug-exit device. A working KVM needs about as long as emulation, a fraction of a second.
"""

from __future__ import annotations

import enum
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 10.0
# What isa-debug-exit makes of the 0x10 that the guest writes: (0x10 << 1) | 1.
_FINISHED = 33
_BINARIES = ("qemu-system-x86_64", "/usr/libexec/qemu-kvm", "qemu-kvm")

# Loaded at 0x7c00. PML4, PDPT and PD at 0x1000 map the first 2 MiB. In GNU as, Intel syntax:
_CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0 bc007c"  # cli; xor ax,ax; mov ds/es/ss,ax; mov sp,0x7c00
    "66bf00100000 0f22df"  # mov edi,0x1000; mov cr3,edi
    "6631c0 66b9000c0000 66f3ab"  # xor eax,eax; mov ecx,0xc00; rep stosd
    "66c706001003200000"  # mov dword [0x1000],0x2003
    "66c706002003300000"  # mov dword [0x2000],0x3003
    "66c706003083000000"  # mov dword [0x3000],0x83
    "0f20e0 6683c820 0f22e0"  # mov eax,cr4; or eax,0x20 (PAE); mov cr4,eax
    "66b9800000c0 0f32 660d00010000 0f30"  # rdmsr EFER; or eax,0x100 (LME); wrmsr
    "0f20c0 660d01000080 0f22c0"  # mov eax,cr0; or eax,0x80000001 (PG, PE); mov cr0,eax
    "0f0116a37c 66ea6f7c00000800"  # lgdt [0x7ca3]; jmp 8:0x7c6f
    "b9002d3101 ffc9 75fc"  # mov ecx,20000000; 1: dec ecx; jnz 1b
    "b9e8030000 51 0f20d8 0f22d8 59 ffc9 75f4"  # a thousand times: mov rax,cr3; mov cr3,rax
    "66baf400 b010 ee f4 ebfd"  # mov dx,0xf4; mov al,0x10; out dx,al; 3: hlt; jmp 3b
    "0000000000000000 00000000009a2000"  # GDT: null, 64-bit code
    "0f00 937c0000"  # GDT's limit and address
)


class Outcome(enum.Enum):
    FINISHED = "finished"
    HUNG = "hung"
    REFUSED = "refused"  # QEMU ended by itself; the detail is its message
    MISSING = "missing"  # no QEMU, or no guest for this architecture


@dataclass(frozen=True)
class Probe:
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""


def run(accelerator: str, limit_s: float = LIMIT_S) -> Probe:
    """Run the guest.

    :param accelerator: QEMU's name: kvm or tcg
    :param limit_s: after these seconds the guest is killed and counts as hung
    """
    qemu = next(filter(None, map(shutil.which, _BINARIES)), None)
    if qemu is None or platform.machine() != "x86_64":
        return Probe(Outcome.MISSING)
    with tempfile.TemporaryDirectory(prefix="nova-lite-probe-") as directory:
        image = Path(directory, "boot")
        image.write_bytes(_CODE.ljust(510, b"\0") + b"\x55\xaa")
        began = time.monotonic()
        try:
            ended = subprocess.run(
                _command(qemu, accelerator, image),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired:  # the guest is killed by then
            return Probe(Outcome.HUNG, limit_s)
        except OSError as error:
            return Probe(Outcome.REFUSED, 0.0, str(error))
    seconds = time.monotonic() - began
    if ended.returncode == _FINISHED:
        return Probe(Outcome.FINISHED, seconds)
    lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
    return Probe(Outcome.REFUSED, seconds, lines[-1])


def _command(qemu: str, accelerator: str, image: Path) -> list[str]:
    cpu = "host" if accelerator == "kvm" else "max"
    return [
        qemu, "-machine", f"pc,accel={accelerator}", "-cpu", cpu, "-m", "32",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4",
        "-drive", f"file={image},format=raw,if=ide", "-boot", "c",
    ]  # fmt: skip
