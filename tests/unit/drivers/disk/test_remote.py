"""What the failures of ssh and rsync mean, and which user of this host they concern."""

from __future__ import annotations

import os
import pwd
import threading

import pytest

from nova_lite.drivers.disk import remote_shell
from nova_lite.drivers.disk.remote_link import Link, service_user
from nova_lite.drivers.disk.remote_rsync import RsyncFiles
from nova_lite.drivers.disk.remote_shell import ShellFiles, extents
from nova_lite.errors import DiskError, DiskFull, RemoteHostRefused, RemoteHostUnreachable

LINK = Link("node1", "192.0.2.2", "node2", "nova")
MIB = 1024**2


@pytest.mark.parametrize(
    ("status", "said", "kind", "remedy"),
    [
        (255, "Host key verification failed.", RemoteHostRefused, "known_hosts of user nova"),
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", RemoteHostRefused,
         "known_hosts of user nova"),
        (255, "nova@192.0.2.2: Permission denied (publickey).", RemoteHostRefused,
         "authorized_keys"),
        (255, "ssh: connect to host 192.0.2.2 port 22: Connection refused",
         RemoteHostUnreachable, "sshd runs there"),
        (255, "Timeout, server 192.0.2.2 not responding.", RemoteHostUnreachable, "sshd runs"),
        (255, "", RemoteHostUnreachable, "sshd runs there"),
        (-9, "", RemoteHostUnreachable, "ended by signal 9"),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far) [sender]",
         RemoteHostUnreachable, "is reached from host node1"),
        (1, "dd: error writing '/a/b': No space left on device", DiskFull, "Free some"),
        (11, "rsync: [receiver] write failed: Disk quota exceeded (122)", DiskFull, "Free some"),
        (1, "mkdir: cannot create directory '/a/b': Permission denied", RemoteHostRefused,
         "that user's"),
        (127, "sh: 1: rsync: not found", RemoteHostRefused, "not installed there"),
        (1, "something new", DiskError, "something new"),
    ],
)  # fmt: skip
def test_failures_name_both_hosts_and_the_remedy(status, said, kind, remedy):
    """The administrator reads them in the fault of the server."""
    error = LINK.failed("write /a/b", status, said)

    assert type(error) is kind
    for part in ("node1", "node2 (192.0.2.2)", "/a/b", remedy):
        assert part in str(error)


def test_a_host_is_reached_as_the_owner_of_the_servers_files(tmp_path, monkeypatch):
    """Who has the keys; root's own files need no other user."""
    owner = pwd.getpwuid(65534).pw_name if os.geteuid() == 0 else None
    if owner is None:
        pytest.skip("needs root")
    os.chown(tmp_path, 65534, 65534)

    assert service_user(tmp_path) == owner
    assert service_user(tmp_path / "absent") is None
    os.chown(tmp_path, 0, 0)
    assert service_user(tmp_path) is None
    assert Link("a", "b", user="nobody").shell()[:2] == ("setpriv", "--reuid=nobody")


def test_addresses_of_ipv6_are_told_from_paths():
    """rsync would take what follows the first colon for a path."""
    assert Link("node1", "2001:db8::2").target == "[2001:db8::2]"
    assert LINK.target == "192.0.2.2"


@pytest.mark.parametrize(
    ("data", "size", "wanted"),
    [
        ((), 8, []),
        ((0, 1), 8, [(0, 1)]),
        ((2, 3, 6), 8, [(2, 4), (6, 7)]),
        ((7,), 8, [(7, 8)]),
    ],
)
def test_holes_do_not_travel(tmp_path, data, size, wanted):
    """Places in MiB."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(size * MIB)
        for place in data:
            file.seek(place * MIB)
            file.write(b"x" * MIB)
    fd = os.open(path, os.O_RDONLY)

    found = list(extents(fd, size * MIB))

    os.close(fd)
    # A file system may allocate some more.
    for start, end in wanted:
        assert any(a <= start * MIB and end * MIB <= b for a, b in found)
    assert sum(b - a for a, b in found) <= len(data) * 2 * MIB


def test_short_holes_travel(tmp_path):
    """Each part is a program more on the other host."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        for place in (0, 128, 256):
            file.seek(place * 1024)
            file.write(b"x")
    fd = os.open(path, os.O_RDONLY)

    (found,) = extents(fd, path.stat().st_size)

    os.close(fd)
    assert found == (0, 256 * 1024 + 1)


# --- a host that answers ssh, and whose storage hangs ------------------------------------------
def hanging(tmp_path, script):
    """A host whose ssh does that instead of what it is told."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\n{script}\n")
    ssh.chmod(0o755)
    return ShellFiles(Link("node1", "192.0.2.2", "node2", None, (str(ssh),)))


@pytest.fixture
def short(monkeypatch):
    """Nobody waits that long here."""
    monkeypatch.setattr(remote_shell, "_SILENT_S", 0.3)
    monkeypatch.setattr(remote_shell, "_FLUSH_S", 0.3)


SLEEPS = "exec sleep 60"
TAKES_NOTHING = f"echo at 0; {SLEEPS}"
NEVER_FLUSHES = f"echo at 0; head -c {2 * MIB} >/dev/null; {SLEEPS}"


@pytest.mark.parametrize("script", [SLEEPS, TAKES_NOTHING, NEVER_FLUSHES])
def test_a_copy_that_stands_still_ends(tmp_path, script, short):
    """Its server is off meanwhile, and nobody else would end it."""
    local = tmp_path / "disk"
    local.write_bytes(os.urandom(2 * MIB))
    host = hanging(tmp_path, script)

    with pytest.raises(DiskError, match="node1.*node2.*nothing has moved for 0.3 s") as met:
        host.send(local, "/a/disk", cancelled=threading.Event(), progress=lambda *done: None)
    assert not isinstance(met.value, RemoteHostUnreachable)  # which would be tried again


@pytest.mark.parametrize("script", [SLEEPS, "printf x; exec sleep 60"])
def test_a_fetch_that_stands_still_ends(tmp_path, script, short):
    """And leaves nothing."""
    (tmp_path / "made").mkdir()

    with pytest.raises(DiskError, match="read /a/disk on host node2.*nothing has moved"):
        hanging(tmp_path, script).fetch("/a/disk", tmp_path / "made" / "disk")

    assert list((tmp_path / "made").iterdir()) == []


def test_a_look_that_hangs_ends(tmp_path, short):
    """Before anything is done to the server."""
    with pytest.raises(DiskError, match="look for /a/disk on host node2.*nothing has moved"):
        hanging(tmp_path, SLEEPS).exists("/a/disk")


def test_rsync_says_so_itself():
    """By its exit status 30."""
    error = RsyncFiles(LINK)._failed("write /a/b", 30, "rsync error: timeout in data send/receive")

    assert "nothing has moved for 600 s" in str(error)
    assert type(error) is DiskError
