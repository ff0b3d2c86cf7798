"""Outside programs that talk to another host: their pipes never block, and they end when told."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from nova_lite.drivers.disk.base import TransferCancelled

# Seconds without a byte after which another host that answers ssh is believed to hang: its storage
# does not. One that does not answer is given up sooner, see remote_link.
SILENT_S = 600.0
_LOOK_S = 0.2
_AT_ONCE = 4 * 1024**2
_NEVER = threading.Event()


class StoodStill(Exception):
    """A program neither took nor gave a byte for as long as it was waited for.

    :ivar seconds: how long that was
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing has moved for {seconds:g} s")
        self.seconds = seconds


class Program:
    """A program that runs; leaving the ``with`` block ends it. Each method that waits may raise
    TransferCancelled and StoodStill.

    ``patience_s``: seconds without a byte after which a wait ends; it may be changed.

    :param cancelled: ends every wait
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        cancelled: threading.Event = _NEVER,
        patience_s: float = SILENT_S,
    ) -> None:
        self._cancelled = cancelled
        self.patience_s = patience_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the program
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            env={**os.environ, "LC_ALL": "C", "LANG": "C"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    def write(self, data: bytes) -> None:
        """Write to its standard input.

        :raises BrokenPipeError: it does not read any more
        """
        while data:
            self._await(self._in, select.POLLOUT)
            data = data[os.write(self._in, data) :]

    def send(self, source: int, offset: int, count: int) -> Iterator[int]:
        """Write a part of a file to its standard input; yields the bytes of each turn.

        :raises BrokenPipeError: it does not read any more
        :raises EOFError: the file has become shorter
        """
        while count:
            self._await(self._in, select.POLLOUT)
            try:
                sent = os.sendfile(self._in, source, offset, min(count, _AT_ONCE))
            except BlockingIOError:
                continue
            if not sent:
                raise EOFError
            offset, count = offset + sent, count - sent
            yield sent

    def read(self) -> Iterator[bytes]:
        """What it prints, as it comes, until it prints no more."""
        while True:
            self._await(self._out, select.POLLIN)
            try:
                part = os.read(self._out, 65536)
            except BlockingIOError:
                continue
            if not part:
                return
            yield part

    def line(self) -> str:
        """One line of what it prints; empty when it prints no more."""
        text = b""
        for part in self.read():
            text += part
            if b"\n" in part:
                break
        return text.decode(errors="replace").strip()

    def end(self, timeout_s: float) -> tuple[int | None, str]:
        """Wait for its end; returns exit status (None: it did not end) and what it complained."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None, self._complaint() or f"it did not end within {timeout_s:g} s"
        return self._process.returncode, self._complaint()

    def _complaint(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace").strip()

    def _await(self, fd: int, event: int) -> None:
        """Wait until a pipe is ready.

        :raises TransferCancelled:
        :raises StoodStill:
        """
        poll = select.poll()
        poll.register(fd, event)
        patience, began = self.patience_s, time.monotonic()
        while not self._cancelled.is_set():
            if poll.poll(_LOOK_S * 1000):
                return
            if time.monotonic() - began > patience:
                raise StoodStill(patience)
        raise TransferCancelled

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                stream.close()


@contextmanager
def opened(path: os.PathLike[str] | str) -> Iterator[int]:
    """A file's descriptor for reading."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
