"""What every way to another host's files promises (``RemoteFiles`` of drivers/disk/base.py).

What ssh and rsync have to say beside is in tests/functional/test_remote_files.py.
"""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from nova_lite.drivers.disk.base import TransferCancelled
from nova_lite.drivers.disk.remote import RemoteHost
from nova_lite.errors import DiskError
from tests.fakes import private_sshd
from tests.fakes.conf_file import read_conf
from tests.fakes.remote_files import FakeRemoteFiles

MIB = 1024**2


@pytest.fixture(params=["fake", "ssh", "rsync"])
def host(request, tmp_path):
    """Another host, whose files are those of this one."""
    if request.param == "fake":
        yield FakeRemoteFiles(tmp_path, tmp_path)
        return
    reason = private_sshd.usable()
    if reason or shutil.which(request.param) is None:
        pytest.skip(reason or f"needs {request.param}")
    daemon = private_sshd.PrivateSshd(tmp_path / "sshd")
    conf = read_conf(
        tmp_path,
        {
            "DEFAULT": {"host": "node1", "instances_path": str(tmp_path)},
            "libvirt": {"remote_filesystem_transport": request.param},
        },
    )
    yield RemoteHost(daemon.address, conf, name="node2", ssh=daemon.ssh)
    daemon.stop()


@pytest.fixture
def local(tmp_path):
    """A file with a hole."""
    path = tmp_path / "local"
    with open(path, "wb") as file:
        file.write(os.urandom(MIB))
        file.truncate(8 * MIB)
    return path


def send(host, local, target, cancelled=None):
    told = []
    host.send(local, str(target), cancelled=cancelled or threading.Event(),
              progress=lambda *done: told.append(done))  # fmt: skip
    return told


def test_directories_and_files_come_and_go(host, tmp_path):
    """All may be repeated."""
    where = tmp_path / "instances" / "server"
    for _ in range(2):
        host.make_directory(str(where))
        host.touch(str(where / "file"))
        assert host.exists(str(where / "file"))
    for _ in range(2):
        host.remove(str(where))
        assert not host.exists(str(where))


def test_a_file_is_sent_in_place_of_what_was_there(host, tmp_path, local):
    """Twice is as once."""
    target = tmp_path / "target"
    target.write_text("old")

    for _ in range(2):
        send(host, local, target)

    assert target.read_bytes() == local.read_bytes()


def test_progress_ends_at_the_end(host, tmp_path, local):
    """The last report says that all is sent."""
    sent, total = send(host, local, tmp_path / "target")[-1]

    assert sent == total > 0


def test_what_nobody_wants_is_not_sent(host, tmp_path, local):
    """The file does not get its name."""
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(TransferCancelled):
        send(host, local, tmp_path / "target", cancelled)

    assert not (tmp_path / "target").exists()


def test_a_file_is_fetched(host, tmp_path, local):
    """Whole, in place of what was there, with its holes where it has blocks of zeros."""
    target = tmp_path / "fetched"
    target.write_text("old")

    for _ in range(2):
        host.fetch(str(local), target)

    assert target.read_bytes() == local.read_bytes()
    assert [path.name for path in tmp_path.glob("fetched*")] == ["fetched"]


def test_what_is_not_there_is_not_fetched(host, tmp_path):
    """Nothing is made here; the error names the file."""
    with pytest.raises(DiskError, match="missing"):
        host.fetch(str(tmp_path / "missing"), tmp_path / "fetched")

    assert not list(tmp_path.glob("fetched*"))
