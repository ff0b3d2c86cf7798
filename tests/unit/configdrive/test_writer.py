"""Config drives as images: readable by others, whole or absent, private."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from nova_lite.configdrive import writer
from nova_lite.drivers.disk import durable
from nova_lite.errors import ConfigDriveError, DiskFull, InvalidConfiguration

FILES = {
    "openstack/latest/meta_data.json": b'{"uuid": "1"}',
    "openstack/2012-08-10/meta_data.json": b"{}",
    "openstack/content/0000": b"\0\xff" * 3000,
    "ec2/latest/meta-data.json": b"{}",
    "ec2/2009-04-04/user-data": b"#!/bin/sh\n",
}


def need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def extracted(path: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a reader that is not ours finds on the drive."""
    out = tmp_path / "out"
    out.mkdir()
    if path.read_bytes()[0x8001:0x8006] == b"CD001":
        need("bsdtar")
        subprocess.run(["bsdtar", "-C", str(out), "-xf", str(path)], check=True)
    else:
        command = ["mcopy", "-s", "-i", str(path), "::*", str(out)]
        subprocess.run(command, check=True, capture_output=True)
    return {
        str(entry.relative_to(out)): entry.read_bytes()
        for entry in out.rglob("*")
        if entry.is_file()
    }


@pytest.mark.parametrize("program", ["genisoimage", "xorrisofs"])
def test_iso9660(tmp_path, program):
    """An ISO 9660 image with the label that guests look for, and every file under its name."""
    need(program)
    path = tmp_path / "disk.config"
    writer.write(path, FILES, mkisofs_cmd=program)

    assert path.read_bytes()[0x8028:0x8048].strip() == b"config-2"
    assert extracted(path, tmp_path) == FILES


def test_vfat(tmp_path):
    """A VFAT image of 64 MiB with the same files, made without mounting."""
    need("mkfs.vfat")
    need("mcopy")
    path = tmp_path / "disk.config"
    writer.write(path, FILES, drive_format="vfat")

    assert path.stat().st_size == 64 * 1024**2
    assert b"config-2" in path.read_bytes()[:512]
    assert extracted(path, tmp_path) == FILES


@pytest.mark.parametrize("drive_format", ["iso9660", "vfat"])
def test_private_and_alone(tmp_path, drive_format):
    """Only its owner reads it, for it holds the password; nothing else is left."""
    need({"iso9660": "genisoimage", "vfat": "mcopy"}[drive_format])
    path = tmp_path / "disk.config"
    writer.write(path, FILES, drive_format=drive_format)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["disk.config"]


def test_leftovers_are_replaced(tmp_path):
    """What a killed attempt left does not get onto the drive."""
    need("genisoimage")
    path = tmp_path / "disk.config"
    (tmp_path / "disk.config.part").write_bytes(b"half")
    (tmp_path / "disk.config.d.part" / "old").mkdir(parents=True)
    writer.write(path, FILES)

    assert os.listdir(tmp_path) == ["disk.config"]
    assert extracted(path, tmp_path) == FILES


def test_missing_tool_is_named(tmp_path):
    """A tool that is not installed is named with what to do, and nothing is left."""
    with pytest.raises(ConfigDriveError, match="no-such-mkisofs is not installed"):
        writer.write(tmp_path / "disk.config", FILES, mkisofs_cmd="no-such-mkisofs")

    assert os.listdir(tmp_path) == []


def test_failing_tool(tmp_path):
    """A tool that fails leaves no drive."""
    with pytest.raises(ConfigDriveError, match="false failed"):
        writer.write(tmp_path / "disk.config", FILES, mkisofs_cmd="false")

    assert os.listdir(tmp_path) == []


def test_unknown_format(tmp_path):
    """Only the two formats of nova.conf exist."""
    with pytest.raises(InvalidConfiguration, match="config_drive_format=ntfs"):
        writer.write(tmp_path / "disk.config", FILES, drive_format="ntfs")


def test_full_disk(tmp_path):
    """A full file system is reported as such, and nothing is left."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with pytest.raises(DiskFull, match="small/disk.config"):
            writer.write(mount / "disk.config", {"big": os.urandom(128 * 1024)})
        assert os.listdir(mount) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_iso_tool_that_meets_a_full_disk(tmp_path):
    """The tool's own complaint about space is understood too."""
    need("genisoimage")
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=384k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with pytest.raises(DiskFull):
            writer.write(mount / "disk.config", {"big": os.urandom(160 * 1024)})
        assert os.listdir(mount) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_drive_that_is_there_has_nothing_beside_it(tmp_path, monkeypatch):
    """Killed right after the drive got its name, an agent leaves no copy of what is on it."""
    need("genisoimage")
    beside = []
    publish = durable.publish

    def look_and_publish(part, path):
        beside.extend(entry.name for entry in tmp_path.iterdir() if entry != part)
        publish(part, path)

    monkeypatch.setattr(durable, "publish", look_and_publish)
    writer.write(tmp_path / "disk.config", {"openstack/latest/meta_data.json": b"{}"})

    assert beside == []
