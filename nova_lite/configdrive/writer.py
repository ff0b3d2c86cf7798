"""Make a config drive: an ISO 9660 or VFAT image labelled ``config-2``.

No mount and no root is needed: mtools fills the VFAT image.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from nova_lite.drivers.disk import durable, process, space
from nova_lite.errors import ConfigDriveError, DiskError, DiskFull, InvalidConfiguration

LABEL = "config-2"  # cloud-init and others look for it
PUBLISHER = "nova_lite"
VFAT_BYTES = 64 * 1024**2
# The drive tells the administrator's password; libvirt hands the file over to the guest's user.
_MODE = 0o600
_TIMEOUT_S = 120.0
_PACKAGES = {"mkfs.vfat": "dosfstools", "mcopy": "mtools", "xorrisofs": "xorriso"}


def write(
    path: Path,
    files: Mapping[str, bytes],
    *,
    drive_format: str = "iso9660",
    mkisofs_cmd: str = "genisoimage",
) -> None:
    """Make the drive whole or not at all; replaces one that exists.

    :param path: where it goes, directories are made; scratch space is taken beside it
    :param files: relative path -> content
    :param drive_format: [DEFAULT]config_drive_format: iso9660 or vfat
    :param mkisofs_cmd: [DEFAULT]mkisofs_cmd: genisoimage, mkisofs or xorrisofs
    :raises ConfigDriveError: the tool failed or is missing
    :raises DiskFull: no room for the drive
    :raises InvalidConfiguration: another format
    """
    makers = {"iso9660": _iso9660, "vfat": _vfat}
    if drive_format not in makers:
        raise InvalidConfiguration(
            f"config_drive_format={drive_format} is unknown: use iso9660 or vfat"
        )
    scratch = path.with_name(f"{path.name}.d{durable.PART}")
    try:
        with space.reported(path, sum(map(len, files.values()))):
            durable.make_directory(path.parent)
            shutil.rmtree(scratch, ignore_errors=True)
            _lay_out(scratch, files)
            with durable.made_whole(path, _MODE) as part:
                # Made with its mode, so that nobody reads the password meanwhile.
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
                makers[drive_format](part, scratch, mkisofs_cmd)
                # Gone before the drive appears: nobody looks for it once there is a drive.
                shutil.rmtree(scratch, ignore_errors=True)
    except DiskFull:
        raise
    except DiskError as exc:
        raise ConfigDriveError(f"Config drive {path} cannot be made: {exc.message}") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def programs(drive_format: str, mkisofs_cmd: str) -> tuple[str, ...]:
    """The programs that ``write`` runs for a format."""
    return (mkisofs_cmd,) if drive_format == "iso9660" else ("mkfs.vfat", "mcopy")


def _lay_out(root: Path, files: Mapping[str, bytes]) -> None:
    durable.make_directory(root, 0o700, scratch=True)
    for name, content in files.items():
        target = root / name
        durable.make_directory(target.parent, scratch=True)
        target.write_bytes(content)


def _iso9660(part: Path, tree: Path, mkisofs_cmd: str) -> None:
    # The options are those all three programs know; names keep case, length and several dots.
    process.run(
        mkisofs_cmd,
        "-o",
        str(part),
        "-ldots",
        "-allow-lowercase",
        "-allow-multidot",
        "-l",
        "-publisher",
        PUBLISHER,
        "-quiet",
        "-J",
        "-r",
        "-V",
        LABEL,
        str(tree),
        timeout_s=_TIMEOUT_S,
        packages=_PACKAGES,
    )


def _vfat(part: Path, tree: Path, _: str) -> None:
    os.truncate(part, VFAT_BYTES)
    process.run("mkfs.vfat", "-n", LABEL, str(part), timeout_s=_TIMEOUT_S, packages=_PACKAGES)
    entries = sorted(str(entry) for entry in tree.iterdir())
    process.run(
        "mcopy", "-s", "-i", str(part), *entries, "::/", timeout_s=_TIMEOUT_S, packages=_PACKAGES
    )
