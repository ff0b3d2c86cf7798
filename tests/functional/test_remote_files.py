"""Disks go to another host over a real sshd: whole, with their holes, however often they are cut.

Run with POSIX shell commands over ssh and with rsync, as nova.conf says.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nova_lite.drivers.disk.base import TransferCancelled
from nova_lite.drivers.disk.remote import RemoteHost
from nova_lite.errors import DiskError, DiskFull, RemoteHostRefused, RemoteHostUnreachable
from tests.fakes import private_sshd
from tests.fakes.conf_file import read_conf
from tests.fakes.private_sshd import PrivateSshd
from tests.fakes.tcp_forwarder import TcpForwarder

pytestmark = [
    pytest.mark.skipif(private_sshd.usable() is not None, reason=str(private_sshd.usable())),
    pytest.mark.timeout(180),
]

REPOSITORY = Path(__file__).parents[2]
MIB = 1024**2
NEVER = threading.Event()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    made = PrivateSshd(tmp_path_factory.mktemp("ssh") / "sshd")
    yield made
    made.stop()


@pytest.fixture
def sshd(daemon):
    """The daemon, which the test may set as it likes."""
    yield daemon
    daemon.know("host_key")
    daemon.show("user_key")


@pytest.fixture(params=["ssh", "rsync"])
def transport(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return request.param


def remote(tmp_path, sshd, transport, **options):
    (tmp_path / "instances").mkdir(exist_ok=True)
    conf = read_conf(
        tmp_path,
        {
            "DEFAULT": {"host": "node1", "instances_path": str(tmp_path / "instances")},
            "libvirt": {"remote_filesystem_transport": transport},
        },
    )
    address = options.pop("address", sshd.address)
    return RemoteHost(address, conf, name="node2", ssh=sshd.ssh, **options)


@pytest.fixture
def host(tmp_path, sshd, transport):
    return remote(tmp_path, sshd, transport)


@pytest.fixture
def there(tmp_path):
    """A directory of the other host."""
    made = tmp_path / "other host" / "instances"
    made.mkdir(parents=True)
    return made


def disk(path, *, data=((0, 3), (40, 5), (99, 1)), size=128):
    """A file with holes; places and lengths in MiB."""
    with open(path, "wb") as file:
        file.truncate(size * MIB)
        for start, length in data:
            file.seek(start * MIB)
            file.write(os.urandom(length * MIB))
    return path


def send(host, local, remote_path, cancelled=NEVER):
    told = []
    host.send(
        local, str(remote_path), cancelled=cancelled, progress=lambda *done: told.append(done)
    )
    return told


def same(left, right):
    return subprocess.run(["cmp", "--quiet", left, right]).returncode == 0


def allocated(path):
    return path.stat().st_blocks * 512


def leftovers(there):
    return sorted(path.name for path in there.iterdir() if path.name != "disk")


# --- whole files ----------------------------------------------------------------------------
def test_a_disk_arrives_with_its_holes(host, tmp_path, there):
    """Nothing but the disk is left, and the caller heard of its end."""
    local = disk(tmp_path / "disk")

    told = send(host, local, there / "disk")

    assert same(local, there / "disk")
    assert allocated(there / "disk") < 12 * MIB
    assert leftovers(there) == []
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * (3 * MIB), os.urandom(65537)])
def test_files_of_all_lengths_arrive(host, tmp_path, there, content):
    """An empty one, zeros that are no hole, and no multiple of anything."""
    local = tmp_path / "disk"
    local.write_bytes(content)

    send(host, local, there / "disk")

    assert (there / "disk").read_bytes() == content


def test_a_disk_replaces_what_was_there(host, tmp_path, there):
    """An older disk of another length."""
    (there / "disk").write_bytes(os.urandom(200 * 1024))
    local = disk(tmp_path / "disk", data=((1, 1),), size=2)

    send(host, local, there / "disk")

    assert same(local, there / "disk")


def test_what_has_arrived_is_not_sent_again(host, tmp_path, there):
    """Who did not hear of the end asks again."""
    local = disk(tmp_path / "disk")
    send(host, local, there / "disk")
    arrived = (there / "disk").stat().st_ino

    send(host, local, there / "disk")

    assert (there / "disk").stat().st_ino == arrived


# --- cut off --------------------------------------------------------------------------------
SENDER = """
import sys, threading
from pathlib import Path
from nova_lite.drivers.disk import remote_shell
from nova_lite.drivers.disk.remote import RemoteHost
from tests.fakes.conf_file import read_conf
state, transport, address, local, target, *ssh = sys.argv[1:]
remote_shell._MARK = 8 * 1024**2
conf = read_conf(Path(state), {
    "DEFAULT": {"host": "node1", "instances_path": state},
    "libvirt": {"remote_filesystem_transport": transport},
})
def progress(sent, total):
    print(sent, total, flush=True)
RemoteHost(address, conf, ssh=tuple(ssh)).send(
    Path(local), target, cancelled=threading.Event(), progress=progress
)
"""


def begin(tmp_path, sshd, transport, local, target):
    """A process that sends; wait until it has begun to."""
    state = tmp_path / "sender"
    state.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, state, transport, sshd.address, local, target, *sshd.ssh],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process


def parts(there):
    return [path for path in there.rglob("*") if path.is_file() and path.name != "disk"]


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_sender_that_is_killed_leaves_no_disk_and_goes_on(
    tmp_path, sshd, transport, there, monkeypatch
):
    """The name is not there before all is; the second attempt continues, and nothing is left."""
    local = disk(tmp_path / "disk", data=((0, 300),), size=400)
    process = begin(tmp_path, sshd, transport, local, there / "disk")
    wait_until(lambda: sum(allocated(path) for path in parts(there)) > 64 * MIB)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (there / "disk").exists()
    host = remote(tmp_path, sshd, transport)
    if transport == "ssh":
        # What reached the file after the last mark is sent again.
        wait_until(lambda: any(path.name.endswith(".at") for path in parts(there)))

    told = send(host, local, there / "disk")

    assert same(local, there / "disk")
    assert leftovers(there) == []
    if transport == "ssh":
        assert told[0][0] > 0


def test_a_changed_disk_is_sent_from_the_beginning(tmp_path, sshd, transport, there):
    """What was sent of it before is another disk's."""
    local = disk(tmp_path / "disk", data=((0, 300),), size=300)
    process = begin(tmp_path, sshd, transport, local, there / "disk")
    wait_until(lambda: sum(allocated(path) for path in parts(there)) > 32 * MIB)
    process.kill()
    process.wait()
    disk(local, data=((0, 300),), size=300)

    send(remote(tmp_path, sshd, transport), local, there / "disk")

    assert same(local, there / "disk")
    assert leftovers(there) == []


def test_a_receiver_that_does_not_know_its_end_cannot_spoil_the_disk(tmp_path, sshd, there):
    """A connection that was cut is believed for hours; the guest may run by then."""
    local = disk(tmp_path / "disk", data=((0, 200),), size=200)
    process = begin(tmp_path, sshd, "ssh", local, there / "disk")
    wait_until(lambda: sum(allocated(path) for path in parts(there)) > 32 * MIB)
    process.send_signal(signal.SIGSTOP)  # alive, and silent
    try:
        send(remote(tmp_path, sshd, "ssh"), local, there / "disk")
        before = (there / "disk").stat().st_mtime_ns
    finally:
        process.send_signal(signal.SIGCONT)
    process.wait(timeout=60)

    assert process.returncode != 0
    assert same(local, there / "disk")
    assert (there / "disk").stat().st_mtime_ns == before
    assert leftovers(there) == []


def test_sending_ends_within_a_second(host, tmp_path, there):
    """And no disk is there."""
    local = disk(tmp_path / "disk", data=((0, 300),), size=300)
    cancelled, began = threading.Event(), []

    def soon():
        wait_until(lambda: parts(there))
        began.append(time.monotonic())
        cancelled.set()

    waiting = threading.Thread(target=soon)
    waiting.start()
    with pytest.raises(TransferCancelled):
        send(host, local, there / "disk", cancelled)
    assert time.monotonic() - began[0] < 1
    waiting.join()

    assert not (there / "disk").exists()


# --- the way between the hosts is cut -------------------------------------------------------
@pytest.fixture
def way(sshd):
    """A port that leads to the other host, and the ssh that uses it and soon gives up."""
    made = TcpForwarder((sshd.address, sshd.port))
    made.open()
    # Of an option that is given twice, ssh takes the first.
    made.ssh = (
        *sshd.ssh, "-p", str(made.port), "-o", f"HostKeyAlias=[{sshd.address}]:{sshd.port}",
        "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2",
    )  # fmt: skip
    made.address = sshd.address
    yield made
    made.release()
    made.shut()


@pytest.mark.parametrize("how", ["hold", "cut"])
def test_a_copy_whose_way_is_cut_ends_and_goes_on(tmp_path, way, transport, there, how):
    """By somebody who closes the connection, or by nobody: a cable is pulled. It names the host."""
    local = disk(tmp_path / "disk", data=((0, 120),), size=125)
    host = remote(tmp_path, way, transport)

    def soon():
        wait_until(lambda: sum(allocated(path) for path in parts(there)) > 16 * MIB)
        getattr(way, how)()

    waiting = threading.Thread(target=soon)
    waiting.start()
    began = time.monotonic()
    with pytest.raises(RemoteHostUnreachable, match="node1.*node2"):
        send(host, local, there / "disk")
    assert time.monotonic() - began < 30
    waiting.join()
    assert not (there / "disk").exists()
    way.cut()
    way.release()

    send(host, local, there / "disk")

    assert same(local, there / "disk")
    assert leftovers(there) == []


def test_a_copy_whose_program_is_killed_goes_on(tmp_path, host, there, monkeypatch):
    """By the kernel, which lacked memory, say."""
    local, begun = disk(tmp_path / "disk", data=((0, 120),), size=125), []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            begun.append(self)

    def soon():
        wait_until(lambda: sum(allocated(path) for path in parts(there)) > 16 * MIB)
        begun[-1].kill()

    monkeypatch.setattr("nova_lite.drivers.disk.remote_program.subprocess.Popen", Watched)
    waiting = threading.Thread(target=soon)
    waiting.start()
    with pytest.raises(RemoteHostUnreachable, match="node2.*signal 9"):
        send(host, local, there / "disk")
    waiting.join()

    send(host, local, there / "disk")

    assert same(local, there / "disk")
    assert leftovers(there) == []


# --- other files ----------------------------------------------------------------------------
def test_directories_and_files_are_made_found_and_removed(host, there):
    """All of it twice: nobody knows how far the first attempt came."""
    server = there / "new" / "a server's"
    for _ in range(2):
        host.make_directory(str(server))
    assert server.is_dir()
    (server / "disk").write_text("content")
    for _ in range(2):
        host.touch(str(server / "probe"))
        host.touch(str(server / "disk"))
    assert (server / "disk").read_text() == "content"
    assert host.exists(str(server)) and host.exists(str(server / "probe"))
    (there / "new" / "other").mkdir()
    (there / "new" / "other" / "disk").touch()

    for _ in range(2):
        host.remove(str(server / "probe"))
    assert not host.exists(str(server / "probe"))
    for _ in range(2):
        host.remove(str(server))

    assert not host.exists(str(server))
    assert not server.exists()
    assert (there / "new" / "other" / "disk").exists()


@pytest.mark.parametrize("path", ["/", "/etc", "disk", "/a/../b/c", "/a/b\nc/d"])
def test_paths_that_lead_elsewhere_are_refused(host, path):
    """Whatever is removed there is gone."""
    with pytest.raises(DiskError, match="no absolute path"):
        host.remove(path)


# --- what goes wrong ------------------------------------------------------------------------
def refused(host, there, kind):
    """The text of the error that both kinds of requests meet."""
    with pytest.raises(kind) as met:
        host.make_directory(str(there / "server"))
    assert "node1" in str(met.value) and "node2" in str(met.value)
    return str(met.value)


def test_another_host_key_is_refused(host, sshd, there):
    """Somebody else may answer at this address."""
    sshd.know("other_host_key")

    assert "known_hosts" in refused(host, there, RemoteHostRefused)


def test_a_host_that_lets_nobody_in_is_named(host, sshd, there):
    """With what its administrator has to do."""
    sshd.show("other_user_key")

    assert "authorized_keys" in refused(host, there, RemoteHostRefused)


def test_a_host_without_sshd_is_waited_for(tmp_path, sshd, transport, there):
    """It may be back in a minute."""
    host = remote(tmp_path, sshd, transport, address="127.0.0.2")  # nobody listens there

    assert "sshd" in refused(host, there, RemoteHostUnreachable)


def test_a_host_without_ssh_says_what_to_install(tmp_path, sshd, transport, there):
    """Here or there."""
    sshd = type("Without", (), {"ssh": ("ssh-is-not-here",), "address": sshd.address})
    if transport == "rsync":
        pytest.skip("rsync finds its ssh itself")

    with pytest.raises(RemoteHostRefused, match="node1.*install"):
        remote(tmp_path, sshd, transport).make_directory(str(there / "server"))


def test_a_full_disk_is_told_from_other_failures(host, tmp_path, there):
    """And what was begun takes no room afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a small file system")
    local = disk(tmp_path / "disk", data=((0, 20),), size=20)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", there], check=True)
    try:
        with pytest.raises(DiskFull, match="node2"):
            send(host, local, there / "disk")
        assert not (there / "disk").exists()
    finally:
        subprocess.run(["umount", there], check=True)


def test_a_directory_that_is_not_the_users_is_named(tmp_path, host):
    """/proc can be written to by nobody, not even by root."""
    with pytest.raises(DiskError, match=r"node1.*node2"):
        host.make_directory("/proc/nova/instances")
