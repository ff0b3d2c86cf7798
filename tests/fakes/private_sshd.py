"""An sshd of a test's own on loopback: own host key, own authorized_keys, own configuration."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def usable() -> str | None:
    """Why it cannot run here; None when it can."""
    for program in (SSHD, "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            return f"needs {program}"
    return None


class PrivateSshd:
    """Lets the user of the test in. ``ssh`` is the client with the configuration for it."""

    address = "127.0.0.1"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        for name in ("host_key", "other_host_key", "user_key", "other_user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name],
                           check=True)  # fmt: skip
        with socket.socket() as probe:
            probe.bind((self.address, 0))
            self.port = probe.getsockname()[1]
        shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
        self.know("host_key")
        self.show("user_key")
        self.ssh = ("ssh", "-F", str(directory / "ssh_config"))
        self._process = None
        self.start()

    def know(self, host_key) -> None:
        """The client knows the server by this key."""
        kind, key, *_ = (self.directory / f"{host_key}.pub").read_text().split()
        line = f"[{self.address}]:{self.port} {kind} {key}\n"
        (self.directory / "known_hosts").write_text(line)

    def show(self, user_key) -> None:
        """The client shows this key."""
        (self.directory / "ssh_config").write_text(
            f"Host *\n Port {self.port}\n User {getpass.getuser()}\n IdentitiesOnly yes\n"
            f" IdentityFile {self.directory}/{user_key}\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.directory}/known_hosts\n"
            " GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
        )

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        config = self.directory / "sshd_config"
        config.write_text(
            f"ListenAddress {self.address}\nPort {self.port}\nHostKey {self.directory}/host_key\n"
            f"AuthorizedKeysFile {self.directory}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nPidFile none\nSubsystem sftp internal-sftp\n"
        )
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", config], stderr=open(self.directory / "sshd.log", "a")
        )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, self.port)) == 0:
                    return
            assert self._process.poll() is None, (self.directory / "sshd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Nobody gets in any more; who is in stays."""
        self._process.terminate()
        self._process.wait(timeout=20)
