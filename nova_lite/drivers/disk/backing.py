"""Which file a disk is an overlay of, read from its header; nothing is started or locked."""

from __future__ import annotations

from pathlib import Path

# https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt: after the magic and the
# version, offset (8 bytes) and length (4 bytes) of the backing file's name, big-endian.
_MAGIC = b"QFI\xfb"
_HEADER = 20
_LONGEST = 1023


def backing_file(disk: Path) -> Path | None:
    """The backing file that a qcow2 file names; None for other files and for one without.

    A guest can write such a header into a raw disk: believe it to keep a file, never to open one.

    :raises OSError: the file cannot be read
    """
    with open(disk, "rb") as file:
        header = file.read(_HEADER)
        offset, length = int.from_bytes(header[8:16], "big"), int.from_bytes(header[16:20], "big")
        if not header.startswith(_MAGIC) or not offset or not 0 < length <= _LONGEST:
            return None
        file.seek(offset)
        name = file.read(length).decode(errors="surrogateescape")
    if not name or "\0" in name:
        return None
    return disk.parent / name  # an absolute name stays as it is
