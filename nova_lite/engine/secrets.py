"""Secrets of open operations: in memory of the host only, so that they outlive the process, but not
the machine.

One file per operation, mode 0600, in a directory of the runtime directory (``/run``, a tmpfs). It
has the name of the operation's journal, is made before that is promised, and removed after it. The
journal has the secrets' names alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Container
from pathlib import Path

from nova_lite.engine.private import make_private
from nova_lite.errors import JournalError
from nova_lite.mount_table import file_system
from nova_lite.wire.confidential import Secrets

LOG = logging.getLogger(__name__)

SUFFIX = ".secrets"
MEMORY = ("tmpfs", "ramfs")  # file systems that a machine without power forgets


class SecretFiles:
    """The secrets of the operations of one journal.

    :param runtime: [nova_lite]runtime_path
    :param journal: the journal's directory; agents with other journals may share ``runtime``
    """

    def __init__(self, runtime: Path, journal: Path) -> None:
        self.runtime = runtime
        name = hashlib.sha256(str(journal.resolve()).encode()).hexdigest()[:16]
        self.directory = runtime / name

    def prepare(self) -> None:
        """Make the directory, for the agent alone.

        :raises JournalError: it cannot be made, or is somebody else's
        """
        make_private(self.directory, "[nova_lite]runtime_path")
        kind = file_system(self.directory)
        if kind not in MEMORY:
            LOG.warning("[nova_lite]runtime_path %s is on %s, not in memory: passwords, files and "
                        "tokens of open requests are written to a disk", self.runtime,
                        kind or "an unknown file system")  # fmt: skip

    def keep(self, name: str, secrets: Secrets) -> None:
        """Keep the secrets of the operation with the journal ``name``.

        :raises JournalError: they cannot be written
        """
        path = self._path(name)
        part = path.with_suffix(".part")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody cleaned /run
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(secrets, file)
            part.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise JournalError(
                f"cannot keep the secrets of a request in {self.directory}: {error.strerror}; "
                "free space there and check its permissions ([nova_lite]runtime_path)"
            ) from error

    def read(self, name: str) -> Secrets | None:
        """The secrets of the operation with the journal ``name``; None: they are lost."""
        try:
            found = json.loads(self._path(name).read_text(encoding="utf-8"))
            return [(tuple(path), value) for path, value in found]
        except (OSError, ValueError, TypeError):
            return None

    def drop(self, name: str) -> None:
        """The operation is over."""
        with contextlib.suppress(OSError):  # it is in memory; the next start looks for it again
            self._path(name).unlink(missing_ok=True)

    def sweep(self, open_ones: Container[str]) -> None:
        """Remove the secrets of operations that were not promised, or are over.

        :param open_ones: names of journals
        """
        for path in self.directory.glob("*"):
            if path.suffix != SUFFIX or path.stem not in open_ones:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}{SUFFIX}"
