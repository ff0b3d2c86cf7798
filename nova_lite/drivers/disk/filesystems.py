"""File systems on ephemeral and swap disks."""

from __future__ import annotations

from pathlib import Path

from nova_lite.drivers.disk import process

# Chosen when neither the request nor [DEFAULT]default_ephemeral_format says; the key is the image
# property os_type.
_BY_OS_TYPE = {"linux": "ext4", "windows": "ntfs"}
_FALLBACK = "vfat"
_PACKAGES = {
    "mkfs": "util-linux",
    "mkswap": "util-linux",
    "mkfs.ext2": "e2fsprogs",
    "mkfs.ext3": "e2fsprogs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkfs.ntfs": "ntfs-3g",
    "mkfs.xfs": "xfsprogs",
}
_MKFS_S = 3600.0


def choose(os_type: str | None, default_format: str | None, requested: str | None = None) -> str:
    """The file system of an ephemeral disk, by nova's rules.

    :param os_type: image property os_type (linux, windows) or None
    :param default_format: [DEFAULT]default_ephemeral_format
    :param requested: guest_format of the block device mapping
    """
    return requested or default_format or _BY_OS_TYPE.get(os_type or "", _FALLBACK)


def make(path: Path, fs: str, label: str | None) -> None:
    """Make a file system, or swap space, on a file; raises DiskError.

    NTFS is made with the quick format: the other one writes the whole disk.
    """
    if fs == "swap":
        argv = ["mkswap"]
    else:
        argv = [f"mkfs.{fs}"]
        argv += {"ext2": ["-q", "-F"], "ext3": ["-q", "-F"], "ext4": ["-q", "-F"]}.get(fs, [])
        argv += {"ntfs": ["-q", "-F", "-Q"], "xfs": ["-q", "-f"]}.get(fs, [])
    if label:
        argv += ["-n" if fs in ("vfat", "msdos") else "-L", label]
    process.run(*argv, str(path), timeout_s=_MKFS_S, packages=_PACKAGES)
