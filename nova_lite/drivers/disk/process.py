"""Run one outside program (qemu-img, mkfs, cp ...) with a deadline and, on request, with limits.

Limits are set by prlimit(1) of util-linux: it costs a millisecond, where a Python wrapper such as
``oslo_concurrency.prlimit`` starts a whole interpreter for every call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from nova_lite.errors import DiskError

_STDERR_SHOWN = 1000
_LOOK_S = 0.2
NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")


@dataclass(frozen=True)
class Limits:
    """What a program that reads untrusted bytes may use; defaults: those of nova-compute 34."""

    cpu_s: int = 30
    address_space_bytes: int = 2 * 1024**3

    def argv(self) -> tuple[str, ...]:
        """The prlimit command that the program is put behind."""
        return (
            "prlimit",
            f"--cpu={self.cpu_s}",
            f"--as={self.address_space_bytes}",
            "--",
        )


class ToolFailed(DiskError):
    """A program failed; ``status``: its exit status, negative for a signal, None for a timeout."""

    def __init__(self, message: str, status: int | None, stderr: str) -> None:
        super().__init__(message)
        self.status = status
        self.stderr = stderr

    @property
    def no_space(self) -> bool:
        """Whether the program gave up for a full file system, a quota or a file size limit."""
        return self.status == -signal.SIGXFSZ or any(text in self.stderr for text in NO_SPACE)

    @property
    def over_limit(self) -> bool:
        """Whether the program was killed, as the kernel does when it exceeds its CPU limit."""
        return self.status in (-signal.SIGKILL, -signal.SIGXCPU, 128 + 9, 128 + 24)


def run(
    *argv: str,
    timeout_s: float,
    limits: Limits | None = None,
    packages: Mapping[str, str] | None = None,
    umask: int = -1,
    go_on: Callable[[], None] | None = None,
) -> str:
    """Run a program and return what it wrote to its standard output.

    :param timeout_s: seconds after which it is killed
    :param limits: CPU and memory limits, for programs that parse what a user uploaded
    :param packages: program name -> what to install, for the message when it is missing
    :param umask: file mode mask of the program, -1 for that of the agent
    :param go_on: called several times a second; what it raises ends the program
    :raises ToolFailed: exit status other than 0, or out of time
    :raises DiskError: the program is not installed
    """
    name = os.path.basename(argv[0])
    command = (*limits.argv(), *argv) if limits else argv
    try:
        done = _run(command, timeout_s, umask, go_on)
    except FileNotFoundError as exc:
        raise _missing(str(exc.filename), packages) from None
    except subprocess.TimeoutExpired:
        message = f"{name} did not finish within {timeout_s:g} s and was stopped"
        raise ToolFailed(message, None, "") from None
    stderr = done.stderr.decode(errors="replace").strip()
    if limits and done.returncode == 127:
        raise _missing(argv[0], packages)
    if done.returncode:
        message = f"{name} failed (exit status {done.returncode}): {stderr[:_STDERR_SHOWN]}"
        raise ToolFailed(message, done.returncode, stderr)
    return done.stdout.decode(errors="replace")


def _run(
    command: tuple[str, ...], timeout_s: float, umask: int, go_on: Callable[[], None] | None
) -> subprocess.CompletedProcess[bytes]:
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C", "LANG": "C"},
        umask=umask,
    ) as program:
        try:
            while True:
                left = max(0.0, deadline - time.monotonic())
                try:
                    out, err = program.communicate(timeout=min(_LOOK_S, left) if go_on else left)
                    return subprocess.CompletedProcess(command, program.returncode, out, err)
                except subprocess.TimeoutExpired:
                    if go_on is None or time.monotonic() >= deadline:
                        raise
                    go_on()
        except BaseException:
            program.kill()
            raise


def _missing(program: str, packages: Mapping[str, str] | None) -> DiskError:
    name = os.path.basename(program)
    package = (packages or {}).get(name, name)
    return DiskError(f"{program} is not installed on this host: install {package}")


@contextmanager
def secret_file(secret: str) -> Iterator[str]:
    """The path of a file without a name, by which a program gets what must not be among its
    arguments: everybody may read those."""
    with os.fdopen(os.memfd_create("secret"), "w", encoding="utf-8") as file:
        file.write(secret)
        file.flush()
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
