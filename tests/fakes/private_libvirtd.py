"""A real libvirtd of our own: private mount, network and PID namespaces, state in one directory.

Nothing of it survives ``stop`` (the PID namespace dies with its first process), and the host's own
libvirtd, if there is one, never notices.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

PROGRAMS = ("libvirtd", "virtlogd", "qemu-system-x86_64", "unshare", "nsenter", "virsh")
# Host directories that the daemon sees its own version of: path -> name below the work directory.
PRIVATE = {
    "/run/libvirt": "run",
    "/etc/libvirt": "etc",
    "/var/lib/libvirt": "lib",
    "/var/log/libvirt": "log",
    "/var/cache/libvirt": "cache",
}
LIBVIRTD_CONF = """
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
host_uuid = "{uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_CONF = """
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "logd"
swtpm_user = "root"
swtpm_group = "root"
max_processes = 0
keepalive_interval = 1
keepalive_count = 3
default_tls_x509_cert_dir = "/etc/libvirt/pki"
"""
# First process of the PID namespace: mounts, says so, and reaps until its standard input ends.
INIT = """
set -e
echo "$1" > /proc/sys/kernel/hostname; shift
mount -t tmpfs -o mode=755 tmpfs /run
for pair in "$@"; do mkdir -p "${pair%%=*}"; mount --bind "${pair#*=}" "${pair%%=*}"; done
ip link set lo up
echo ready
trap '' CHLD
read -r _ || true
"""


def missing() -> str | None:
    """Why a private libvirtd cannot run here; None when it can."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(lacking)}" if lacking else None


class PrivateLibvirtd:
    """``uri`` is good for libvirt.open from outside the namespaces.

    :param hostname: what libvirt and all that runs in the namespaces take for the machine's name
    """

    def __init__(self, directory: Path, hostname: str | None = None) -> None:
        self.directory = directory
        self._hostname = hostname
        self._init: subprocess.Popen[str] | None = None
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt-sock"

    def start(self) -> None:
        for name in PRIVATE.values():
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        etc = self.directory / "etc"
        (etc / "pki").mkdir(exist_ok=True)
        (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=uuid.uuid4()))
        (etc / "qemu.conf").write_text(QEMU_CONF)
        (etc / "virtlogd.conf").write_text("")
        mounts = [f"{path}={self.directory / name}" for path, name in PRIVATE.items()]
        unshare = ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc"]
        name = self._hostname or socket.gethostname()
        self._init = subprocess.Popen(
            [*unshare, "--kill-child", "bash", "-c", INIT, "init", name, *mounts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "ready\n":
            raise RuntimeError("the namespaces for libvirtd could not be made")
        self._daemons.append(self._spawn("virtlogd", "--pid-file", "/run/libvirt/virtlogd.pid"))
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start the daemon and wait until it answers."""
        self._daemons.append(
            self._spawn("libvirtd", "--listen", "--pid-file", "/run/libvirt/libvirtd.pid")
        )
        deadline = time.monotonic() + 30
        while self.run("virsh", "-q", "-c", "qemu:///system", "uri", check=False).returncode:
            if time.monotonic() > deadline:
                log = self.directory / "log" / "libvirtd.log"
                raise RuntimeError(f"libvirtd does not answer: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def signal_libvirtd(self, number: signal.Signals) -> None:
        """Send a signal to the daemon, which has a PID of its own namespace."""
        pid = (self.directory / "run" / "libvirtd.pid").read_text().strip()
        self.run("kill", f"-{int(number)}", pid)
        # nsenter, its parent, stops itself when the daemon stops, and would never reap it.
        if number in (signal.SIGCONT, signal.SIGKILL):
            self._daemons[-1].send_signal(signal.SIGCONT)

    def kill_libvirtd(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal_libvirtd(signal.SIGKILL)
        self._daemons.pop().wait(timeout=10)

    def lose_power(self) -> None:
        """kill -9 of the daemon and of all guests; it is up again, without what was in /run."""
        self.kill_libvirtd()
        guests = self.directory / "run" / "qemu"
        pids = [path.read_text().strip() for path in guests.glob("*.pid")]
        if pids:
            self.run("kill", "-9", *pids, check=False)
        for path in [*guests.glob("*.pid"), *guests.glob("*.xml")]:
            path.unlink()
        self.start_libvirtd()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespaces."""
        return subprocess.run(
            [*self.enter(), *command], check=check, capture_output=True, text=True, timeout=60
        )

    def stop(self) -> None:
        """End everything in the namespaces."""
        if self._init is None:
            return
        with contextlib.suppress(OSError):
            assert self._init.stdin is not None
            self._init.stdin.close()  # the first process ends, and the kernel kills the rest
        self._init.wait(timeout=20)
        for daemon in self._daemons:
            daemon.wait(timeout=20)
        self._init = None

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        log = (self.directory / "log" / f"{command[0]}.out").open("ab")
        return subprocess.Popen(
            [*self.enter(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def enter(self) -> list[str]:
        """What to put before a command to run it inside the namespaces."""
        return ["nsenter", "-t", str(self._first_pid()), "--mount", "--net", "--pid", "--uts", "--"]

    def network(self) -> Path:
        """The network namespace, for setns(2)."""
        return Path(f"/proc/{self._first_pid()}/ns/net")

    def _first_pid(self) -> int:
        """PID, seen from here, of the first process in the namespace."""
        assert self._init is not None
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text()
        return int(children.split()[0])


def link(one: PrivateLibvirtd, two: PrivateLibvirtd, subnet: str = "10.97.0") -> tuple[str, str]:
    """A cable between two machines; their addresses on it."""
    ends = f"nvl{one.directory.name[:5]}a", f"nvl{two.directory.name[:5]}b"
    subprocess.run(
        ["ip", "link", "add", ends[0], "netns", one.enter()[2], "type", "veth",
         "peer", "name", ends[1], "netns", two.enter()[2]], check=True,
    )  # fmt: skip
    addresses = f"{subnet}.1", f"{subnet}.2"
    for daemon, end, address in zip((one, two), ends, addresses, strict=True):
        daemon.run("ip", "addr", "add", f"{address}/24", "dev", end)
        daemon.run("ip", "link", "set", end, "up")
    return addresses
