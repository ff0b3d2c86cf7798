"""What every share driver promises, and the stand-in of the kill matrix with them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nova_lite.drivers.share.base import ShareDriver
from nova_lite.drivers.share.drivers import ShareDrivers
from nova_lite.errors import ShareMountFailed, ShareProtocolUnsupported
from nova_lite.model.share import Share
from tests.fakes.conf_file import read_conf
from tests.fakes.manila import DirectoryShares

KEY = "AQ-a-secret=="
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) needs root")


class Host:
    """A host whose mount(8) binds directories of its own instead of anything remote."""

    def __init__(self, protocol: str, directory: Path) -> None:
        self.protocol, self.directory = protocol, directory
        self.export = directory / "export"
        self.export.mkdir()
        (self.export / "hello").write_text("from the share")
        bind = {"nfs_mount_options": "bind", "ceph_mount_options": "bind"}
        self.conf = read_conf(
            directory, {"DEFAULT": {"state_path": str(directory / "state")}, "libvirt": bind}
        )

    def agent(self) -> ShareDriver:
        """The driver, as an agent that has just started has it."""
        if self.protocol == "fake":
            return DirectoryShares(self.directory)
        return ShareDrivers(self.conf).of(self.protocol)

    def share(self, whom: str = "192.0.2.1") -> Share:
        return Share("s1", self.protocol, str(self.export), "docs", "ip", whom, KEY)

    def close(self) -> None:
        mounts = Path("/proc/self/mounts").read_text().split()
        for path in [word for word in mounts if word.startswith(f"{self.directory}/state")]:
            subprocess.run(["umount", path], check=True)


@pytest.fixture(params=[pytest.param("NFS", marks=needs_mount),
                        pytest.param("CEPHFS", marks=needs_mount), "fake"])  # fmt: skip
def host(request, tmp_path):
    made = Host(request.param, tmp_path)
    yield made
    made.close()


def test_a_share_is_mounted_once_and_for_all_that_use_it(host):
    """The last server takes the mount along; everything may be done again, by another agent."""
    share = host.share()
    assert not host.agent().mounted(share)
    for server in ("server1", "server2", "server2"):
        host.agent().mount(share, server)

    host.agent().unmount(share, "server1")
    host.agent().unmount(share, "server1")
    assert host.agent().mounted(share)
    host.agent().unmount(share, "server2")

    assert not host.agent().mounted(share)


def test_the_guest_finds_the_share_where_the_driver_says(host):
    """The directory is known before it is mounted."""
    directory = host.agent().directory(host.share())
    host.agent().mount(host.share(), "server1")

    if host.protocol != "fake":
        assert (directory / "hello").read_text() == "from the share"
    assert directory.is_dir()


def test_unmounting_what_never_was_mounted_is_success(host):
    host.agent().unmount(host.share(), "server1")


@needs_mount
def test_servers_with_identities_of_their_own_have_mounts_of_their_own(tmp_path):
    """One that loses its identity does not take the share from another one."""
    host = Host("CEPHFS", tmp_path)
    one, other = host.share("nova-1"), host.share("nova-2")
    host.agent().mount(one, "server1")
    host.agent().mount(other, "server2")

    host.agent().unmount(one, "server1")

    assert host.agent().mounted(other)
    host.close()


@pytest.mark.parametrize("protocol", ["NFS", "CEPHFS"])
def test_a_mount_that_fails_says_why_and_no_secret(tmp_path, protocol):
    """And leaves nobody who would use it."""
    host = Host(protocol, tmp_path)
    host.export = tmp_path / "gone"

    with pytest.raises(ShareMountFailed, match="s1 cannot be mounted for server server1") as failed:
        host.agent().mount(host.share(), "server1")

    assert KEY not in str(failed.value)
    assert KEY not in repr(host.share())


def test_the_key_is_no_argument_of_a_program(tmp_path, monkeypatch):
    """Everybody on the host can read those; mount.ceph reads it from a file that has no name."""
    host, seen = Host("CEPHFS", tmp_path), []

    def run(*argv, **more):
        seen.append(argv)
        seen.append(Path(argv[4].rpartition("secretfile=")[2]).read_text())

    monkeypatch.setattr("nova_lite.drivers.volume.mounts.process.run", run)
    host.agent().mount(host.share("nova-1"), "server1")

    assert seen[0][:3] == ("mount", "-t", "ceph")
    assert "name=nova-1" in seen[0][4]
    assert KEY not in " ".join(seen[0])
    assert seen[1] == KEY


def test_a_protocol_that_nobody_mounts_is_refused_by_name(tmp_path):
    with pytest.raises(ShareProtocolUnsupported, match="SMB.*cephfs, nfs"):
        ShareDrivers(Host("NFS", tmp_path).conf).of("SMB")
