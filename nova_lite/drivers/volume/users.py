"""Who uses what a volume driver has connected on this host, in files that outlive the agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.locks import NamedLocks


class Users:
    """A set of names for every shared thing (a mount, a volume), kept as empty files.

    Each may have a note of how the thing was connected for it, which holds no secret.

    A user is added before the thing is connected for it, and removed after it was disconnected:
    killed in between, a driver connects or disconnects once more and finds nothing to do. Every
    method is to be called with the thing ``held``.
    """

    def __init__(self, directory: Path) -> None:
        """:param directory: where the sets are; made when missing"""
        self._directory = directory
        self._locks = NamedLocks(directory / "locks", prefix="")

    @contextmanager
    def held(self, thing: str, timeout_s: float) -> Iterator[None]:
        """Keep everybody else from connecting or disconnecting the thing.

        :raises TimeoutError: somebody else did not finish within ``timeout_s`` seconds
        """
        with self._locks.held(thing, timeout_s):
            yield

    def add(self, thing: str, user: str, note: str = "") -> None:
        """From now on the user counts, also after a crash of the host; again changes the note."""
        directory = self._directory / thing
        durable.make_directory(directory)
        (directory / user).write_text(note, encoding="utf-8")
        durable.sync(directory)
        durable.sync(self._directory)

    def note(self, thing: str, user: str) -> str:
        """What was noted of the user; empty where nothing was, or the user is not known."""
        try:
            return (self._directory / thing / user).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def others(self, thing: str, user: str) -> bool:
        """Whether anybody else uses the thing."""
        directory = self._directory / thing
        return directory.is_dir() and any(path.name != user for path in directory.iterdir())

    def remove(self, thing: str, user: str) -> None:
        """Forget the user, who need not be known."""
        directory = self._directory / thing
        if directory.is_dir():
            (directory / user).unlink(missing_ok=True)
            durable.sync(directory)
            if not any(directory.iterdir()):
                directory.rmdir()
