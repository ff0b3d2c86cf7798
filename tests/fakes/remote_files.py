"""The files of another host of the same test, without ssh: it has a directory of its own for what
both have at one path."""

from __future__ import annotations

import shutil
from pathlib import Path

from nova_lite.drivers.disk.base import RemoteFiles, TransferCancelled
from nova_lite.errors import DiskError


class FakeRemoteFiles(RemoteFiles):
    """``here`` and ``there`` are what instances_path is on the two hosts; where they are the same
    the hosts share it. ``fail`` holds errors by method, ``sent`` the names of what was sent.

    The record of formats is made to name the paths of there.
    """

    def __init__(self, here: Path, there: Path) -> None:
        self.here, self.there = here, there
        self.fail: dict[str, Exception] = {}
        self.sent: list[str] = []

    def make_directory(self, path: str) -> None:
        self._at("make_directory", path).mkdir(parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        found = self._at("remove", path)
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return self._at("exists", path).exists()

    def touch(self, path: str) -> None:
        self._at("touch", path).touch()

    def send(self, local, remote_path, *, cancelled, progress) -> None:
        if cancelled.is_set():
            raise TransferCancelled
        target = self._at("send", remote_path)
        size = local.stat().st_size
        progress(0, size)
        if local.name == "disk.info":
            target.write_text(local.read_text().replace(str(self.here), str(self.there)))
        else:
            shutil.copy2(local, target)
        progress(size, size)
        self.sent.append(Path(remote_path).name)

    def fetch(self, remote_path, local) -> None:
        """By the host that ``there`` is of, which asks for a path of its own."""
        if "fetch" in self.fail:
            raise self.fail["fetch"]
        origin = self.here / Path(remote_path).relative_to(self.there)
        if not origin.exists():
            raise DiskError(f"cannot read {remote_path}")
        shutil.copyfile(origin, local)

    def _at(self, method: str, path: str) -> Path:
        if method in self.fail:
            raise self.fail[method]
        return self.there / Path(path).relative_to(self.here)
