"""ssh to another compute host: as whom, with which options, and what its failures mean.

The keys are those that nova-compute uses: of the user who owns instances_path, who is the same on
all hosts. The agent is root, and becomes that user for ssh alone. What is not said here is said by
the user's ssh_config and that of the host.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from nova_lite.drivers.disk.process import NO_SPACE
from nova_lite.errors import (
    DiskError,
    DiskFull,
    NovaLiteError,
    RemoteHostRefused,
    RemoteHostUnreachable,
)

# A connection that was cut is given up after 45 seconds.
OPTIONS = (
    "-o", "BatchMode=yes", "-o", "ConnectTimeout=15",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",
)  # fmt: skip
SSH_FAILED, NOT_THERE = 255, 127
_SHOWN = 500
_OTHER_KEY = ("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED")
_CUT_OFF = (
    "Connection refused", "timed out", "No route to host", "Network is unreachable",
    "Connection reset", "Connection closed", "closed by remote host", "Broken pipe",
    "Could not resolve", "not responding", "connection unexpectedly closed", "Host is down",
)  # fmt: skip


@dataclass(frozen=True)
class Link:
    """The way from this host to another one.

    :param here: name of this host, for messages
    :param address: of the other host
    :param name: of the other host, for messages; None: its address has to do
    :param user: as whom ssh runs; None: as whom the agent does
    :param ssh: the program, with options that come before all others
    """

    here: str
    address: str
    name: str | None = None
    user: str | None = None
    ssh: tuple[str, ...] = ("ssh",)

    @property
    def there(self) -> str:
        """The other host in messages."""
        return f"{self.name} ({self.address})" if self.name else self.address

    @property
    def target(self) -> str:
        """The other host as rsync wants it before a colon."""
        return f"[{self.address}]" if ":" in self.address else self.address

    def shell(self) -> tuple[str, ...]:
        """The program that takes a host and a command, as rsync's ``-e`` wants it."""
        return (*self._as_user(), *self.ssh, *OPTIONS)

    def command(self, script: str, *arguments: str) -> tuple[str, ...]:
        """The program that runs a POSIX shell script on the other host."""
        remote = shlex.join(("sh", "-c", script, "sh", *arguments))
        return (*self.shell(), "-T", self.address, remote)

    def _as_user(self) -> tuple[str, ...]:
        if self.user is None:
            return ()
        return ("setpriv", f"--reuid={self.user}", f"--regid={_group(self.user)}",
                "--init-groups", "--")  # fmt: skip

    # --- failures ---------------------------------------------------------------------------
    def missing(self, program: str) -> NovaLiteError:
        """The error of a program that this host does not have."""
        packages = {"ssh": "openssh-client", "setpriv": "util-linux"}
        return RemoteHostRefused(
            f"{program} is not installed on host {self.here}, which is to reach host {self.there}: "
            f"install {packages.get(program, program)}"
        )

    def stood_still(self, what: str, seconds: float) -> NovaLiteError:
        """The error of a program of the other host that hangs, while that host answers ssh.

        :param seconds: for which nothing has moved
        """
        return DiskError(
            f"Host {self.here} cannot {what} on host {self.there}: nothing has moved for "
            f"{seconds:g} s, though it answers ssh. Look at the storage of that host"
        )

    def failed(self, what: str, status: int | None, stderr: str) -> NovaLiteError:
        """The error of a program that failed.

        :param what: such as ``write /path``
        :param status: its exit status
        :param stderr: what it has said
        """
        killed = status is not None and status < 0
        ended = f"ended by signal {-(status or 0)}" if killed else f"exit status {status}"
        said = " ".join(stderr.split())[-_SHOWN:] or ended
        start = f"Host {self.here} cannot {what} on host {self.there}"
        if any(text in stderr for text in NO_SPACE):
            return DiskFull(f"{start}: no space is left there ({said}). Free some, or choose "
                            "another host")  # fmt: skip
        if any(text in stderr for text in _OTHER_KEY):
            return RemoteHostRefused(
                f"{start}: it does not know the key by which that host shows who it is, or knows "
                f"another one ({said}). Compare it, and put it into known_hosts of user "
                f"{self._shown_user} on host {self.here}"
            )
        if status == NOT_THERE or "command not found" in stderr:
            return RemoteHostRefused(f"{start}: a program is not installed there ({said})")
        if "Permission denied (" in stderr or "Too many authentication failures" in stderr:
            return RemoteHostRefused(
                f"{start}: it does not let user {self._shown_user} of host {self.here} in ({said})."
                " Put the public key of that user into its authorized_keys there"
            )
        cut_off = killed or (status == SSH_FAILED and not stderr)
        if cut_off or any(text in stderr for text in _CUT_OFF):
            return RemoteHostUnreachable(
                f"{start}: it does not answer ssh ({said}). Check that sshd runs there, and that "
                f"{self.address} is reached from host {self.here}"
            )
        if "Permission denied" in stderr or "Read-only file system" in stderr:
            return RemoteHostRefused(
                f"{start}: user {self._shown_user} may not write there ({said}). Make "
                "instances_path of both hosts that user's"
            )
        return DiskError(f"{start}: {said}")

    @property
    def _shown_user(self) -> str:
        return self.user or pwd.getpwuid(os.geteuid()).pw_name


def service_user(instances_path: Path) -> str | None:
    """Who owns a directory, if the agent is root and has to become that user."""
    if os.geteuid() != 0 or not instances_path.exists():
        return None
    owner = instances_path.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name if owner else None
    except KeyError:
        return None  # a number without a name has no keys


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def installed(program: str) -> bool:
    return shutil.which(program) is not None
