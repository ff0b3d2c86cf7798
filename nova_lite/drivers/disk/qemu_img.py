"""The calls of qemu-img that local disks and cached images need.

Formats are always named, never probed by QEMU: a probe would believe a header that a guest or an
uploader wrote.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import process
from nova_lite.drivers.disk.process import Limits

_PACKAGES = {"qemu-img": "qemu-utils (Debian) or qemu-img (Fedora)"}
_QUICK_S = 60.0
_CONVERT_S = 6 * 3600.0


def info(path: Path, limits: Limits | None = None) -> dict[str, Any]:
    """What QEMU itself makes of a file, as ``qemu-img info --output=json`` tells it.

    The only call that lets QEMU probe; use it on a file that the format inspector has passed, to
    see that both agree. ``--force-share`` allows a disk that a guest has open.

    :raises process.ToolFailed: unreadable, or over its limits (a crafted header can ask for much)
    """
    out = process.run(
        "qemu-img",
        "info",
        "--force-share",
        "--output=json",
        str(path),
        timeout_s=_QUICK_S,
        limits=limits or Limits(),
        packages=_PACKAGES,
    )
    found: dict[str, Any] = json.loads(out)
    return found


def create(
    path: Path,
    size_bytes: int,
    *,
    backing: Path | None = None,
    backing_format: str | None = None,
    cluster_size: int | None = None,
) -> None:
    """Create a qcow2 file: empty, or an overlay of ``backing`` (size 0: as large as that)."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if backing:
        argv += ["-b", str(backing), "-F", backing_format or "raw"]
    if cluster_size:
        argv += ["-o", f"cluster_size={cluster_size}"]
    argv.append(str(path))
    if size_bytes:
        argv.append(str(size_bytes))
    process.run(*argv, timeout_s=_QUICK_S, packages=_PACKAGES)


def resize(path: Path, size_bytes: int) -> None:
    """Make a qcow2 file that nobody has open show a larger disk."""
    process.run(
        "qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size_bytes),
        timeout_s=_QUICK_S, packages=_PACKAGES,
    )  # fmt: skip


def rebase(path: Path, backing: Path | str | None, backing_format: str | None = None) -> None:
    """Copy into a qcow2 file that nobody has open what it needs of the files below ``backing``.

    :param backing: the file that it is based on from now on, or the name of one beside it; None for
        no file
    :param backing_format: QEMU's name of its format, if it is known
    """
    argv = ["qemu-img", "rebase", "-f", "qcow2", "-b", str(backing or "")]
    if backing:
        argv += ["-F", backing_format or str(info(path.parent / backing)["format"])]
    process.run(*argv, str(path), timeout_s=_CONVERT_S, packages=_PACKAGES)


def convert(
    source: Path | str,
    target: Path,
    source_format: str,
    target_format: str,
    *,
    compress: bool = False,
    shared: bool = False,
    go_on: Callable[[], None] | None = None,
) -> None:
    """Copy an image, with what it is based on, into another format; holes stay holes.

    The target bypasses the page cache where the file system allows, so that a large image does not
    push the guests' pages out of it.

    :param source: a file, or what QEMU calls an image elsewhere, such as ``rbd:pool/image``
    :param compress: compress the data (qcow2 and vmdk)
    :param shared: read an image that a guest has open, which must not write meanwhile
    :param go_on: called several times a second; may raise to give up
    """
    cache = "none" if supports_direct_io(target.parent) else "writeback"
    process.run(
        "qemu-img",
        "convert",
        "-t",
        cache,
        "-f",
        source_format,
        "-O",
        target_format,
        *(["-c"] if compress else []),
        *(["-U"] if shared else []),
        str(source),
        str(target),
        timeout_s=_CONVERT_S,
        packages=_PACKAGES,
        go_on=go_on,
    )


def fill(source: Path, target: str, source_format: str) -> None:
    """Copy an image into an empty target that is at least as large, such as ``rbd:pool/image``."""
    process.run(
        "qemu-img", "convert", "-n", "--target-is-zero", "-W", "-t", "writeback",
        "-f", source_format, "-O", "raw", str(source), target,
        timeout_s=_CONVERT_S, packages=_PACKAGES,
    )  # fmt: skip


def supports_direct_io(directory: Path) -> bool:
    """Whether files in ``directory`` can be written with O_DIRECT (some tmpfs and FUSE cannot)."""
    probe = directory / f".direct-io.{os.getpid()}.part"
    flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT
    try:
        fd = os.open(probe, flags, 0o600)
    except OSError:
        probe.unlink(missing_ok=True)
        return False
    try:
        with mmap.mmap(-1, 4096) as page:  # O_DIRECT wants an aligned buffer
            os.write(fd, page)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
        probe.unlink(missing_ok=True)
