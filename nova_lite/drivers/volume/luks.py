"""LUKS on block devices that Cinder hands out empty, as it does with iSCSI and Fibre Channel."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nova_lite.drivers.disk import process
from nova_lite.errors import DiskError

MAGIC = b"LUKS\xba\xbe"
BLOCK = 4096  # what begins with the magic is written last, and at once
_TIMEOUT_S = 300.0
# The keys are random already: stretching them for seconds would only make guests start later.
_STRETCH_MS = 100


def formatted(device: str) -> bool:
    """Whether there is LUKS on a device."""
    try:
        with open(device, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise DiskError(f"cannot read {device}: {error.strerror}") from error


def format_device(device: str, passphrase: str) -> None:
    """Put an empty LUKS container on a device; whoever is killed meanwhile leaves none.

    QEMU makes its head (a head alone: the size of what follows does not stand in it) in a file;
    it is copied from there, beginning last.

    :raises DiskError: it cannot be made, or not be written
    """
    with (
        process.secret_file(passphrase) as key,
        tempfile.TemporaryDirectory(prefix="nova-lite-luks-") as directory,
    ):
        head = Path(directory, "head")
        process.run(
            "qemu-img", "create", "-q", "-f", "luks",
            "--object", f"secret,id=key,file={key}",
            "-o", f"key-secret=key,iter-time={_STRETCH_MS}", str(head), "0",
            timeout_s=_TIMEOUT_S,
        )  # fmt: skip
        content = head.read_bytes()
    try:
        with open(device, "r+b", buffering=0) as file:
            for start, end in ((BLOCK, len(content)), (0, BLOCK)):
                _write(file.fileno(), content[start:end], start)
                os.fsync(file.fileno())
    except OSError as error:
        raise DiskError(f"cannot write LUKS on {device}: {error.strerror}") from error


def _write(descriptor: int, content: bytes, offset: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
