"""How fast disks are sent to another host, beside cp, scp and plain rsync of the same file.

    python -m tests.benchmark.copies [--mib 2048] [--only full|sparse] [--directory /var/tmp]

Over an sshd of its own on loopback, so the processor is what is measured: both ends are on it. What
every way reaches is synced before its time is taken.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from nova_lite.drivers.disk.remote import RemoteHost
from tests.fakes.conf_file import read_conf
from tests.fakes.private_sshd import PrivateSshd

MIB = 1024**2
CHUNK = 16 * MIB
FILES = {"full": 1, "sparse": 8}  # kind of file -> of so many chunks one is data


def make(path: Path, mib: int, every: int) -> None:
    """A file of random data: all of it, or one chunk of 16 MiB in ``every``."""
    with open(path, "wb") as file:
        file.truncate(mib * MIB)
        for number in range(0, mib * MIB // CHUNK, every):
            file.seek(number * CHUNK)
            file.write(os.urandom(CHUNK))
    os.sync()


def measured(send: Callable[[], None], target: Path) -> tuple[float, float, int]:
    """Seconds, MiB per second of the whole file, and MiB that the copy takes."""
    target.unlink(missing_ok=True)
    begin = time.monotonic()
    send()
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    seconds = time.monotonic() - begin
    stat = target.stat()
    return seconds, stat.st_size / MIB / seconds, stat.st_blocks * 512 // MIB


def ways(sshd: PrivateSshd, state: Path, local: Path, target: Path) -> dict[str, Callable]:
    def ours(transport: str) -> Callable[[], None]:
        (state / transport).mkdir(exist_ok=True)
        conf = read_conf(
            state / transport,
            {
                "DEFAULT": {"host": "node1", "instances_path": str(state)},
                "libvirt": {"remote_filesystem_transport": transport},
            },
        )
        host = RemoteHost(sshd.address, conf, ssh=sshd.ssh)
        return lambda: host.send(
            local, str(target), cancelled=threading.Event(), progress=lambda sent, total: None
        )

    def run(*command: str | Path) -> Callable[[], None]:
        return lambda: subprocess.run(command, check=True) and None

    there, shell = f"{sshd.address}:{target}", shlex.join(sshd.ssh)
    return {
        "cp --sparse=always (local)": run("cp", "--sparse=always", local, target),
        "nova-lite, ssh": ours("ssh"),
        "nova-lite, rsync": ours("rsync"),
        "rsync -r --sparse": run("rsync", "-r", "--sparse", "-e", shell, local, there),
        "rsync -r --sparse --compress": run(
            "rsync", "-r", "--sparse", "--compress", "-e", shell, local, there
        ),
        "scp -r": run("scp", *sshd.ssh[1:], "-q", "-r", local, there),
        "scp -C -r": run("scp", *sshd.ssh[1:], "-q", "-C", "-r", local, there),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="size of each file")
    parser.add_argument("--only", choices=FILES, help="one of the two files")
    parser.add_argument("--directory", type=Path, help="where the files are")
    options = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="nvl-copies-", dir=options.directory))
    sshd = PrivateSshd(state / "sshd")
    try:
        for kind, every in FILES.items():
            if options.only not in (None, kind):
                continue
            local, target = state / "disk", state / "there" / "disk"
            target.parent.mkdir(exist_ok=True)
            make(local, options.mib, every)
            print(f"{options.mib} MiB, {kind}, {options.mib // every} MiB of it data")
            for name, send in ways(sshd, state, local, target).items():
                seconds, rate, takes = measured(send, target)
                print(f"  {name:30} {seconds:7.1f} s {rate:7.0f} MiB/s, takes {takes} MiB")
    finally:
        sshd.stop()
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
