"""What a disk image really is, before anything trusts what its uploader said.

A qcow2 header can name a backing file or a data file of the host, a VMDK descriptor an extent; an
image that declares itself raw can be any of these (CVE-2015-5163, CVE-2022-47951, CVE-2024-32498).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import process, qemu_img
from nova_lite.errors import DiskError, ImageUnacceptable

LOG = logging.getLogger(__name__)

# Glance's disk_format -> QEMU's name of what the file then holds. Kernels are opaque bytes; an
# AMI is a bare file system.
QEMU_FORMATS = {
    "raw": "raw",
    "iso": "raw",
    "gpt": "raw",
    "ami": "raw",
    "aki": "raw",
    "ari": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
# Declared formats whose content may look like a whole disk with a partition table, or like
# anything that QEMU reads as raw.
_LOOSE = {"raw": {"raw", "gpt"}, "ami": {"raw", "gpt", "iso"}}
VMDK_TYPES = ("streamOptimized", "monolithicSparse")
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Base:
    """A cached image as a disk can start from it: QEMU's format name and sizes in bytes."""

    format: str
    virtual_bytes: int
    cluster_bytes: int | None = None


def base(path: Path) -> Base:
    """Look at a cached image that :func:`verify` passed when it was downloaded.

    The checks for references to other files are made again: the file may have been cached by
    another agent, or before a check existed.

    :raises DiskError: the file cannot serve as a base; the message names it
    """
    found = _detect(path)
    if found is None or str(found) not in ("raw", "gpt", "iso", "qcow2"):
        name = "of several formats at once" if found is None else f"a {found} file"
        raise DiskError(f"Cached image {path} is {name}: remove it to have it made anew")
    if str(found) != "qcow2":
        return Base("raw", path.stat().st_size)
    try:
        found.safety_check()
    except Exception as exc:
        raise DiskError(f"Cached image {path} is not safe ({exc}): remove it") from exc
    with open(path, "rb") as file:  # cluster_bits, see docs/interop/qcow2.txt of QEMU
        bits = int.from_bytes(file.read(24)[20:24], "big")
    return Base("qcow2", found.virtual_size, 1 << bits)


def verify(
    path: Path,
    image_id: str,
    disk_format: str | None,
    *,
    vmdk_types: Sequence[str] = VMDK_TYPES,
    limits: process.Limits | None = None,
) -> tuple[str, int]:
    """Check a downloaded image; return QEMU's name of its format and its virtual size in bytes.

    Our inspector and QEMU must both find what Glance's ``disk_format`` promises.

    :param vmdk_types: VMDK subformats that are allowed
    :raises ImageUnacceptable: it lies, refers to other files, or is of an unsupported format
    """
    if disk_format not in QEMU_FORMATS:
        raise _refused(image_id, f"disk_format {disk_format} is not supported here")
    detected = _detect(path)
    if detected is None:
        raise _refused(image_id, "its content matches several formats at once")
    if str(detected) not in _LOOSE.get(disk_format, {disk_format}):
        raise _refused(image_id, f"it is registered as {disk_format} but contains {detected}")
    _check_safe(detected, image_id)
    info = _qemu_view(path, image_id, limits)
    expected = QEMU_FORMATS[disk_format]
    if info.get("format") != expected:
        reason = f"it is registered as {disk_format} but QEMU takes it for {info.get('format')}"
        raise _refused(image_id, reason)
    _check_references(info, image_id, vmdk_types)
    return expected, int(info["virtual-size"])


def _check_safe(detected: Any, image_id: str) -> None:
    from oslo_utils.imageutils import format_inspector

    try:
        detected.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        raise _refused(image_id, f"it is not safe to open ({exc})") from exc
    except format_inspector.ImageFormatError as exc:
        raise _refused(image_id, f"it is damaged ({exc})") from exc


def _qemu_view(path: Path, image_id: str, limits: process.Limits | None) -> dict[str, Any]:
    try:
        return qemu_img.info(path, limits)
    except process.ToolFailed as exc:
        if exc.over_limit:
            raise _refused(image_id, "qemu-img needs too much CPU or memory to open it") from exc
        raise _refused(image_id, f"qemu-img cannot open it: {exc.stderr[:200]}") from exc


def _check_references(info: dict[str, Any], image_id: str, vmdk_types: Sequence[str]) -> None:
    if info.get("backing-filename") is not None:
        raise _refused(image_id, "it has a backing file")
    data = (info.get("format-specific") or {}).get("data") or {}
    if data.get("data-file") is not None:
        raise _refused(image_id, "it has an external data file")
    if info["format"] == "vmdk" and data.get("create-type") not in vmdk_types:
        kind = data.get("create-type")
        allowed = ", ".join(vmdk_types) or "none"
        raise _refused(image_id, f"VMDK type {kind} is not among the allowed ones ({allowed})")


def _detect(path: Path) -> Any:
    """The inspector that matches the file; None when several do."""
    from oslo_utils.imageutils import format_inspector

    with open(path, "rb") as file:
        wrapper = format_inspector.InspectWrapper(file)
        try:
            while wrapper.read(_CHUNK):
                if _decided(wrapper):
                    break
        finally:
            wrapper.close()
    try:
        return wrapper.format
    except format_inspector.ImageFormatError:
        # A bootable CD image carries a partition table too, so that it starts from a USB stick.
        matches = {str(match): match for match in wrapper.formats or ()}
        return matches["iso"] if matches.keys() == {"iso", "gpt"} else None


def _decided(wrapper: Any) -> bool:
    from oslo_utils.imageutils import format_inspector

    try:
        return wrapper.format is not None
    except format_inspector.ImageFormatError:
        return True


def _refused(image_id: str, reason: str) -> ImageUnacceptable:
    return ImageUnacceptable(f"Image {image_id} is unacceptable: {reason}")
