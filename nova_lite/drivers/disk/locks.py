"""Locks by name that also hold against other processes that share the directory.

File names and lock type (POSIX record locks) are those of nova-compute's lock directory
``instances_path/locks``, so that both agents may share the image cache, also over NFS.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nova_lite.drivers.disk import durable

_POLL_S = 0.1


class NamedLocks:
    """Exclusive locks: among threads by a mutex, among processes by a file.

    Both are needed: a record lock belongs to the process, so it holds back none of its threads,
    and closing any descriptor of the file drops it. The kernel drops it when the process dies.
    """

    def __init__(self, directory: Path, prefix: str = "nova-") -> None:
        """:param directory: where the lock files are; made when missing, files are never removed"""
        self._directory = directory
        self._prefix = prefix
        self._guard = threading.Lock()
        self._users: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def held(self, name: str, timeout_s: float) -> Iterator[None]:
        """Hold the lock; raises TimeoutError when it is not free within ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        mutex = self._enter(name)
        try:
            if not mutex.acquire(timeout=timeout_s):
                raise TimeoutError(name)
            try:
                with self._file(name, deadline):
                    yield
            finally:
                mutex.release()
        finally:
            self._leave(name)

    def _enter(self, name: str) -> threading.Lock:
        with self._guard:
            mutex, users = self._users.get(name, (threading.Lock(), 0))
            self._users[name] = (mutex, users + 1)
            return mutex

    def _leave(self, name: str) -> None:
        with self._guard:
            mutex, users = self._users.pop(name)
            if users > 1:
                self._users[name] = (mutex, users - 1)

    @contextmanager
    def _file(self, name: str, deadline: float) -> Iterator[None]:
        durable.make_directory(self._directory)
        path = self._directory / f"{self._prefix}{name.replace(os.sep, '_')}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            durable.give(path)
            while not _taken(fd):
                if time.monotonic() > deadline:
                    raise TimeoutError(name)
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
