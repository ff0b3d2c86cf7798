"""What a power failure leaves of a directory tree: what was synced, and nothing else.

The process that writes records its fsyncs; another one makes the tree what the disk would hold. The
worst that POSIX allows is taken for granted: a name that was made, changed or removed
counts only once its directory was synced, and bytes only once their file was. What other programs
write (qemu-img, QEMU) is lost as long as this process does not sync it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path


class DurableFiles:
    """The durable state of everything below ``root``, kept in ``store``.

    Files are known by their inodes, so the file system must not use one twice; tmpfs does not.
    """

    def __init__(self, root: Path, store: Path) -> None:
        self._root, self.store = root, store

    def record(self) -> None:
        """Record the fsyncs of this process from now on.

        What is there now is durable, unless an earlier process has recorded already.
        """
        if not self.store.exists():
            self.store.mkdir(parents=True)
            self._keep_tree()
        os.fsync = self._recording(os.fsync)  # type: ignore[assignment]
        os.fdatasync = self._recording(os.fdatasync)  # type: ignore[assignment]

    def lose_rest(self) -> None:
        """Make the tree what is durable of it; where nobody has recorded, all of it is."""
        if not self.store.exists():
            return
        left = self.store.with_suffix(".left")
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
        self._make(left, os.stat(self._root).st_ino)
        for path in self._root.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in left.iterdir():
            path.rename(self._root / path.name)
        left.rmdir()
        shutil.rmtree(self.store)

    def keep(self, path: Path) -> None:
        """Another program has synced a file, whose name counts by what was recorded."""
        if self.store.exists():
            self._keep_file(path)

    # --- recording --------------------------------------------------------------------------
    def _keep_tree(self) -> None:
        for directory, _, names in os.walk(self._root):
            self._keep_directory(Path(directory))
            for name in names:
                self._keep_file(Path(directory, name))

    def _recording(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(file: object) -> None:
            descriptor = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
            sync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}")
            if Path(os.readlink(path)).is_relative_to(self._root):
                keep = self._keep_directory if path.is_dir() else self._keep_file
                keep(path)

        return synced

    def _keep_directory(self, path: Path) -> None:
        entries = {}
        for entry in os.scandir(path):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another thread was faster
            if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode):
                entries[entry.name] = [found.st_ino, found.st_mode]
        self._write(os.stat(path).st_ino, lambda part: part.write_text(json.dumps(entries)))

    def _keep_file(self, path: Path) -> None:
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            self._write(found.st_ino, lambda part: shutil.copyfile(path, part))

    def _write(self, inode: int, write: Callable[[Path], object]) -> None:
        """Whole or not at all: the process may be killed by another of its threads."""
        part = self.store / f"{inode}.{os.getpid()}.part"
        write(part)
        part.rename(self.store / str(inode))

    # --- making -----------------------------------------------------------------------------
    def _make(self, directory: Path, inode: int) -> None:
        listing = self.store / str(inode)
        entries = json.loads(listing.read_text()) if listing.exists() else {}
        for name, (number, mode) in entries.items():
            path, kept = directory / name, self.store / str(number)
            if stat.S_ISDIR(mode):
                path.mkdir()
                self._make(path, number)
            elif kept.exists():
                shutil.copyfile(kept, path)
            else:
                path.touch()  # the name was synced, the bytes were not
            path.chmod(stat.S_IMODE(mode))
