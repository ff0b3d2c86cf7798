"""Local disks as qcow2 files: overlays of the cached image, or free-standing."""

from __future__ import annotations

from pathlib import Path

from nova_lite.drivers.disk import durable, filesystems, inspect, qemu_img
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.drivers.disk.files import FileBackend, look


class Qcow2Backend(FileBackend):
    """Copy on write: a new server costs some hundred kilobytes, the image stays in the cache.

    Ephemeral and swap disks have no base in the cache (nova-compute keeps one per size there): the
    file system is made on a sparse raw file and then stored as qcow2, so that nothing ages in the
    cache and the disk can move without it.
    """

    format = "qcow2"

    def _make(self, part: Path, disk: LocalDisk) -> None:
        if disk.base:
            base = look(disk, disk.base)
            qemu_img.create(
                part,
                disk.size_bytes,
                backing=disk.base,
                backing_format=base.format,
                cluster_size=base.cluster_bytes,
            )
            if disk.independent:
                self._part_from_image(part, disk.rebase_on)
        elif disk.fs:
            self._formatted(part, disk, disk.fs)
        else:
            qemu_img.create(part, disk.size_bytes)

    @staticmethod
    def _part_from_image(part: Path, other: Path | None) -> None:
        """Base the new overlay on another image, or on none: copy into it what that lacks."""
        if other is None:
            qemu_img.rebase(part, None)
        else:
            qemu_img.rebase(part, other, inspect.base(other).format)

    def _formatted(self, part: Path, disk: LocalDisk, fs: str) -> None:
        raw = part.with_name(f"{disk.name}.raw{durable.PART}")
        raw.unlink(missing_ok=True)
        try:
            with open(raw, "xb") as file:
                file.truncate(disk.size_bytes)
            filesystems.make(raw, fs, disk.label)
            qemu_img.convert(raw, part, "raw", "qcow2")
        finally:
            raw.unlink(missing_ok=True)
