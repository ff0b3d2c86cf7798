"""Guests small enough for tests: no system inside, but real to a hypervisor."""

from __future__ import annotations

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
