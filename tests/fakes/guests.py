"""Guests small enough for tests: no system inside, but real to a hypervisor."""

from __future__ import annotations

import struct
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from nova_lite.model.domain import DiskSpec, DomainSpec, GraphicsSpec

MIB = 1024**2


def tiny_guest(directory: Path, **changes: Any) -> DomainSpec:
    """A guest with an empty disk of 1 MiB: the firmware finds nothing to boot and waits.

    :param directory: where disk and console log go
    :param changes: other fields of the DomainSpec
    """
    number = uuid.uuid4()
    disk = directory / f"{number}.disk"
    with disk.open("wb") as file:
        file.truncate(MIB)
    spec = DomainSpec(
        uuid=str(number),
        name=f"instance-{number.hex[:8]}",
        title="tiny",
        virt_type="qemu",
        arch="x86_64",
        machine="pc",
        memory_kib=64 * 1024,
        vcpus=1,
        disks=(DiskSpec("vda", "virtio", str(disk)),),
        graphics=(GraphicsSpec("vnc", "127.0.0.1"),),
        video_model="vga",
        console_log=str(directory / f"{number}.log"),
        rng="/dev/urandom",
        usb_model="none",
        tb_cache_mb=32,
    )
    return replace(spec, **changes)


def writing_guest(
    directory: Path, *, pause: int = 2000, mib: int = 48, **changes: Any
) -> DomainSpec:
    """A guest without disks that writes to every page of its memory, again and again.

    :param directory: where its program and console log go
    :param pause: rounds of an empty loop after each page; a million are about a second
    :param mib: how much of its memory it writes to
    """
    program = directory / f"{uuid.uuid4()}.kernel"
    program.write_bytes(_writer(pause, (2 + mib) * MIB))
    wanted: dict[str, Any] = {"disks": (), "kernel": str(program), **changes}
    return tiny_guest(directory, **wanted)


def _writer(pause: int, end: int) -> bytes:
    """A kernel by the Multiboot specification, with the address fields of its header."""
    load, header_size = 0x100000, 32
    code = (
        b"\xbf" + struct.pack("<I", 2 * MIB)  # pass: mov edi, 2 MiB
        + b"\x43"  # inc ebx
        + b"\x89\x1f"  # page: mov [edi], ebx
        + b"\xb9" + struct.pack("<I", pause)  # mov ecx, pause
        + b"\xe2\xfe"  # loop to itself
        + b"\x81\xc7" + struct.pack("<I", 4096)  # add edi, 4096
        + b"\x81\xff" + struct.pack("<I", end)  # cmp edi, end
        + b"\x72\xe9"  # jb page
        + b"\xeb\xe1"  # jmp pass
    )  # fmt: skip
    magic, flags = 0x1BADB002, 1 << 16
    stop = load + header_size + len(code)
    header = struct.pack(
        "<8I", magic, flags, -(magic + flags) % 2**32, load, load, stop, stop, load + header_size
    )
    return header + code
