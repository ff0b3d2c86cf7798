"""``embed-grub.py DISK CORE_IMAGE``: GRUB's core image into the gap behind the MBR."""

import struct
import sys

SECTOR = 512
GAP_SECTORS = 2047  # between the MBR and the first partition
LOAD_SEGMENT = 0x820  # where the rest of the core goes in memory

# Offsets in boot.img, see grub-core/boot/i386/pc/boot.S.
KERNEL_SECTOR = 0x5C
BOOT_DRIVE = 0x64
DRIVE_CHECK = 0x66

disk_path, core_path = sys.argv[1:]
with open(core_path, "rb") as file:
    core = bytearray(file.read())
assert len(core) < GAP_SECTORS * SECTOR
# The first core sector ends with a block list: start, length, segment of the remaining sectors.
remaining = (len(core) + SECTOR - 1) // SECTOR - 1
struct.pack_into("<QHH", core, SECTOR - 12, 2, remaining, LOAD_SEGMENT)

with open(disk_path, "r+b") as disk:
    disk.seek(SECTOR)
    disk.write(core)
    disk.seek(KERNEL_SECTOR)
    disk.write(struct.pack("<Q", 1))
    disk.seek(BOOT_DRIVE)
    disk.write(b"\xff")  # the drive that the BIOS names
    disk.seek(DRIVE_CHECK)
    disk.write(b"\x90\x90")  # no floppy check, as grub-bios-setup does for hard disks
