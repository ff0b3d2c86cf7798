"""[DEFAULT] options about disks made from images, and about config drives."""

from __future__ import annotations

from oslo_config import cfg

GROUP = None

DISK_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "use_cow_images",
        default=True,
        help="Where [libvirt]images_type is default: make disks as qcow2 overlays of the cached "
        "image (true) or as full raw copies (false).",
    ),
    cfg.BoolOpt(
        "force_raw_images",
        default=True,
        help="Convert images to raw in the cache. Off: qcow2 images stay as they are.",
    ),
    cfg.StrOpt(
        "preallocate_images",
        default="none",
        choices=["none", "space"],
        help="Whether local disks get their full space when they are made.",
    ),
    cfg.StrOpt(
        "default_ephemeral_format",
        help="File system of ephemeral disks: ext2, ext3, ext4, xfs or ntfs. Unset: by the image's "
        "os_type: ext4 for linux, ntfs for windows, else vfat.",
    ),
]

DRIVE_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "force_config_drive",
        default=False,
        help="Give every new server a config drive, asked for or not.",
    ),
    cfg.StrOpt(
        "config_drive_format",
        default="iso9660",
        choices=["iso9660", "vfat"],
        help="File system of config drives.",
    ),
    cfg.StrOpt(
        "mkisofs_cmd",
        default="genisoimage",
        help="Program that makes ISO 9660 images: genisoimage, mkisofs or xorrisofs.",
    ),
    cfg.BoolOpt(
        "flat_injected",
        default=False,
        help="Mark networks as injected: guests of those without DHCP find their addresses in the "
        "network_config file of the config drive.",
    ),
]

OPTS: list[cfg.Opt] = [*DISK_OPTS, *DRIVE_OPTS]
