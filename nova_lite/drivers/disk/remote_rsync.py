"""Files of another host by rsync alone ([libvirt]remote_filesystem_transport=rsync).

rsync uses ssh, but runs nothing else there, so the account of the service user may be restricted to
it. It writes to a temporary name and renames. What was cut off is kept in a directory beside the
file, and the next attempt sends the difference.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.drivers.disk.remote_link import Link
from nova_lite.drivers.disk.remote_program import SILENT_S, Program
from nova_lite.errors import DiskError, NovaLiteError

_QUICK_S = 120.0
_TIMEOUT = 30  # exit status: the other host answers ssh, and nothing has moved for SILENT_S
_PARTIAL = ".rsync-partial"
# The receiver of a copy that was cut off may just be putting its file there, or taking it away.
_ATTEMPTS = 6
_PAUSE_S = 1.0  # that it needs to be over, under load more than once
_NO_SUCH_FILE = 23
_PROGRESS = re.compile(r"\s*([0-9]+)\s+[0-9]+%")
_UNKNOWN = "unknown option"
_NEVER = threading.Event()


class RsyncFiles(RemoteFiles):
    """See ``base.RemoteFiles``."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def make_directory(self, path: str) -> None:
        self._make(path, f"make directory {path}", directory=True)

    def touch(self, path: str) -> None:
        self._make(path, f"make {path}", directory=False)

    def _make(self, path: str, what: str, *, directory: bool) -> None:
        """Send a path with nothing in it; what is there stays as it is."""
        with tempfile.TemporaryDirectory() as empty:
            here = Path(empty, path.lstrip("/"))
            (here if directory else here.parent).mkdir(parents=True)
            if not directory:
                here.touch()
            _open_to_others(Path(empty))
            self._run(what, "--dirs", "--relative", "--no-implied-dirs", "--ignore-existing",
                      f"{empty}/.{path}", f"{self._link.target}:/")  # fmt: skip

    def remove(self, path: str) -> None:
        there, name = PurePosixPath(path), _literal(PurePosixPath(path).name)
        if not self.exists(path):
            return
        with tempfile.TemporaryDirectory() as empty:
            _open_to_others(Path(empty))
            self._run(f"remove {path}", "-r", "--delete", f"--include=/{name}",
                      f"--include=/{name}/**", "--exclude=*",
                      f"{empty}/", f"{self._link.target}:{there.parent}/")  # fmt: skip

    def exists(self, path: str) -> bool:
        status, _, complaint = self._finished("--dirs", "--list-only",
                                              f"{self._link.target}:{path}")  # fmt: skip
        if status == 0:
            return True
        if status == _NO_SUCH_FILE and "No such file" in complaint:
            return False
        raise self._failed(f"look for {path}", status, complaint)

    def send(
        self,
        local: Path,
        remote_path: str,
        *,
        cancelled: threading.Event,
        progress: Callable[[int, int], None],
    ) -> None:
        size = local.stat().st_size
        options = ["--sparse", "--times", "--perms", "--chmod=go-w", f"--partial-dir={_PARTIAL}",
                   "--info=progress2", "--no-human-readable", "--fsync"]  # fmt: skip
        if local.stat().st_blocks * 512 < size * 0.9:
            options.append("--compress")  # or holes would travel as zeros

        def shown(text: str) -> None:
            if numbers := _PROGRESS.findall(text):
                progress(min(int(numbers[-1]), size), size)

        target = f"{self._link.target}:{remote_path}"
        for _ in range(_ATTEMPTS):
            status, _, complaint = self._finished(*options, str(local), target,
                                                  cancelled=cancelled, shown=shown)  # fmt: skip
            if status and _UNKNOWN in complaint and "--fsync" in options:
                options.remove("--fsync")  # rsync before 3.2.4, on either side
            elif not status or _PARTIAL not in complaint:
                break
            else:
                cancelled.wait(_PAUSE_S)
        if status != 0:
            raise self._failed(f"write {remote_path}", status, complaint)
        progress(size, size)

    def fetch(self, remote_path: str, local: Path) -> None:
        with durable.made_whole(local) as part:
            self._run(f"read {remote_path}", "--sparse", "--inplace", "--copy-links",
                      f"{self._link.target}:{remote_path}", str(part))  # fmt: skip

    def _failed(self, what: str, status: int | None, complaint: str) -> NovaLiteError:
        if status == _TIMEOUT:
            return self._link.stood_still(what, SILENT_S)
        return self._link.failed(what, status, complaint)

    # --- running ----------------------------------------------------------------------------
    def _run(self, what: str, *argv: str) -> str:
        status, said, complaint = self._finished(*argv)
        if status != 0:
            raise self._failed(what, status, complaint)
        return said

    def _finished(
        self,
        *argv: str,
        cancelled: threading.Event | None = None,
        shown: Callable[[str], None] = lambda text: None,
    ) -> tuple[int | None, str, str]:
        """Run rsync; returns exit status, what it printed and what it complained."""
        command = ("rsync", f"--timeout={SILENT_S:.0f}", "--protect-args",
                   "-e", shlex.join(self._link.shell()), *argv)  # fmt: skip
        said = ""
        try:
            # While the other host compares, nothing is printed here: rsync itself gives up.
            with Program(command, cancelled or _NEVER, math.inf) as program:
                for part in program.read():
                    text = part.decode(errors="replace")
                    said = (said + text)[-65536:]
                    shown(text)
                status, complaint = program.end(_QUICK_S)
        except FileNotFoundError as error:
            raise self._link.missing(os.path.basename(str(error.filename))) from None
        except OSError as error:
            raise DiskError(f"cannot run rsync: {error.strerror}") from error
        return status, said, complaint


def _open_to_others(path: Path) -> None:
    """What is sent has the modes that it has here, where nobody else may look at scratch files."""
    path.chmod(0o755)


def _literal(name: str) -> str:
    """A name in rsync's patterns."""
    return re.sub(r"([\\*?\[])", r"\\\1", name)
