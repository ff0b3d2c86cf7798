"""Volumes on shares: options of the mount, and when it goes."""

from __future__ import annotations

import os
import subprocess

import pytest

from nova_lite.drivers.volume import mounts
from nova_lite.drivers.volume.mounts import Mounts
from nova_lite.drivers.volume.remote_files import NfsVolumes, SmbVolumes
from nova_lite.errors import DiskError
from nova_lite.model.volume import Connection
from tests.fakes.conf_file import read_conf

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.mark.parametrize(
    ("libvirt", "data", "expected"),
    [
        ({}, {}, []),
        ({"nfs_mount_options": "vers=4"}, {"options": "-o soft"}, ["-o", "vers=4", "-o", "soft"]),
        ({}, {"options": "-o ro,soft"}, ["-o", "ro,soft"]),
    ],
)
def test_nfs_mounts_as_nova_conf_and_cinder_say(tmp_path, libvirt, data, expected):
    """The host's options first: Cinder's may overrule them."""
    driver = NfsVolumes(read_conf(tmp_path, {"libvirt": libvirt}))

    assert driver.options(Connection("nfs", "vol1", data)) == expected


@pytest.mark.parametrize(
    ("libvirt", "data", "expected"),
    [
        ({}, {}, ["-o", "username=guest"]),
        ({"smbfs_mount_options": "-o uid=107"}, {}, ["-o", "uid=107", "-o", "username=guest"]),
        ({}, {"options": "-o username=WORK\\ann,password=x"}, ["-o", "username=ann,password=x"]),
    ],
)
def test_smb_mounts_as_somebody(tmp_path, libvirt, data, expected):
    """Without a Windows domain, as a guest if nobody is named."""
    driver = SmbVolumes(read_conf(tmp_path, {"libvirt": libvirt}))

    assert driver.options(Connection("smbfs", "vol1", data)) == expected


def test_a_file_is_where_nova_compute_has_it(tmp_path):
    """Below the MD5 of the export: so a server can change hands with its volumes."""
    options = {"libvirt": {"nfs_mount_point_base": "/mnt/nfs"}}
    data = {"export": "192.0.2.1:/vol", "name": "volume-1"}

    nfs = NfsVolumes(read_conf(tmp_path, options)).source(Connection("nfs", "vol1", data))
    smb = SmbVolumes(read_conf(tmp_path, {})).source(
        Connection("smbfs", "vol1", {**data, "format": "vhdx", "device_path": "/mnt/x"})
    )

    assert nfs.path == "/mnt/nfs/28c0971225fca0a8b8e6e0a7440ed99e/volume-1"
    assert (nfs.type, nfs.format, nfs.io, nfs.cache) == ("file", "raw", "native", "none")
    assert (smb.path, smb.format, smb.io, smb.cache) == ("/mnt/x", "vhdx", None, "writeback")


def test_the_io_mode_can_be_left_to_qemu(tmp_path):
    """[libvirt]use_default_aio_mode_for_volumes."""
    options = {"libvirt": {"use_default_aio_mode_for_volumes": "true"}}
    data = {"export": "e", "name": "n"}

    assert NfsVolumes(read_conf(tmp_path, options)).source(Connection("nfs", "v", data)).io is None


@pytest.fixture
def share(tmp_path):
    """An 'export' that can be mounted: a directory with a blank in its name."""
    export = tmp_path / "the export"
    export.mkdir()
    yield str(export)
    for directory in (tmp_path / "the base").glob("*"):
        if mounts.mounted(directory):
            subprocess.run(["umount", directory], check=True)


def shares(tmp_path) -> Mounts:
    """As an agent has them that has just started."""
    return Mounts(tmp_path / "state", "nfs", tmp_path / "the base")


BIND = ["-o", "bind"]


@needs_root
def test_a_mount_goes_with_its_last_user(tmp_path, share):
    """Whichever agent disconnects him."""
    shares(tmp_path).mount(share, BIND, "vol1.server1")
    shares(tmp_path).mount(share, BIND, "vol2.server1")
    directory = shares(tmp_path).directory(share)

    shares(tmp_path).unmount(share, "vol1.server1")
    assert mounts.mounted(directory)
    shares(tmp_path).unmount(share, "vol2.server1")
    assert not directory.exists()


@needs_root
def test_a_user_is_known_before_there_is_a_mount(tmp_path, share, monkeypatch):
    """An agent that is killed in between leaves no mount that nobody would ever remove."""
    monkeypatch.setattr(mounts.process, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        shares(tmp_path).mount(share, BIND, "vol1.server1")
    monkeypatch.undo()

    shares(tmp_path).mount(share, BIND, "vol2.server2")
    shares(tmp_path).unmount(share, "vol2.server2")
    assert mounts.mounted(shares(tmp_path).directory(share))
    shares(tmp_path).unmount(share, "vol1.server1")
    assert not shares(tmp_path).directory(share).exists()


@needs_root
def test_a_user_is_known_until_the_mount_is_gone(tmp_path, share, monkeypatch):
    """An agent that is killed in between unmounts when it goes on."""
    shares(tmp_path).mount(share, BIND, "vol1.server1")
    monkeypatch.setattr(mounts.process, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        shares(tmp_path).unmount(share, "vol1.server1")
    monkeypatch.undo()
    assert mounts.mounted(shares(tmp_path).directory(share))

    shares(tmp_path).unmount(share, "vol1.server1")

    assert not shares(tmp_path).directory(share).exists()


@needs_root
def test_a_busy_mount_stays(tmp_path, share):
    """Somebody whom this agent does not know reads there: a server that nova-compute started."""
    shares(tmp_path).mount(share, BIND, "vol1.server1")
    directory = shares(tmp_path).directory(share)

    with (directory / "volume-2").open("w"):
        shares(tmp_path).unmount(share, "vol1.server1")
        assert mounts.mounted(directory)

    shares(tmp_path).mount(share, BIND, "vol1.server1")
    shares(tmp_path).unmount(share, "vol1.server1")
    assert not directory.exists()


@needs_root
def test_a_mount_that_fails_leaves_nothing(tmp_path):
    """The message has the words of mount(8)."""
    with pytest.raises(DiskError, match="mount failed"):
        shares(tmp_path).mount("/nowhere", BIND, "vol1.server1")

    shares(tmp_path).unmount("/nowhere", "vol1.server1")
    assert not shares(tmp_path).directory("/nowhere").exists()


def killed(*argv: str, **options: object) -> str:
    raise KeyboardInterrupt
