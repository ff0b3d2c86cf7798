"""Local disks as raw files: full copies of the cached image."""

from __future__ import annotations

import os
from pathlib import Path

from nova_lite.drivers.disk import filesystems, qemu_img
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.drivers.disk.files import FileBackend, copy, look


class RawBackend(FileBackend):
    """Flat disks ([libvirt]images_type raw or flat, or use_cow_images False).

    Always raw: a cached qcow2 image (force_raw_images False) is converted, where nova-compute
    would copy it as qcow2; disk.info tells either agent. The file system inside a grown disk is
    left to the guest, as cloud-init does it.
    """

    format = "raw"

    def _make(self, part: Path, disk: LocalDisk) -> None:
        size = disk.size_bytes
        if disk.base:
            base = look(disk, disk.base)
            if base.format == "raw":
                copy(disk.base, part)
            else:
                qemu_img.convert(disk.base, part, base.format, "raw")
            size = max(size, base.virtual_bytes)
            os.truncate(part, size)
            return
        with open(part, "xb") as file:
            file.truncate(size)
        if disk.fs:
            filesystems.make(part, disk.fs, disk.label)
