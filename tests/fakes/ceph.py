"""A Ceph cluster in memory: images, snapshots and clones as ``rbd`` answers about them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from nova_lite.drivers.disk import ceph
from nova_lite.drivers.disk.ceph import Ceph, Monitors, Room
from nova_lite.drivers.disk.process import ToolFailed

FSID = "1c57b472-3898-49fc-be29-051ada1712bf"


@dataclass
class Image:
    size: int
    parent: str | None = None  # pool/image@snapshot
    snapshots: dict[str, bool] = field(default_factory=dict)  # name -> protected
    sizes: dict[str, int] = field(default_factory=dict, compare=False)  # of snapshots
    watchers: list[str] = field(default_factory=list)  # addresses of clients
    locks: dict[str, str] = field(default_factory=dict)  # "auto 1" -> address of its owner


class FakeCeph(Ceph):
    """``images`` is the cluster; those in ``watched`` are open as often as it says."""

    def __init__(self) -> None:
        super().__init__("/etc/ceph/ceph.conf", "cinder")
        self.images: dict[str, Image] = {}
        self.watched: dict[str, int] = {}
        self.forbidden_pools: set[str] = set()
        self.calls: list[tuple[str, ...]] = []
        self.blocked: dict[str, int] = {}  # address -> seconds
        self.may_block = True

    def rbd(self, *argv: str, timeout_s: float = 0) -> str:
        self.calls.append(argv)
        words = [word for word in argv if word not in ("--no-progress", "--format", "json")]
        if words[0] == "lock":
            return self._lock_command(words[1], *words[2:])
        if words[0] == "snap":
            return self._snap(words[1], *words[2].split("@"))
        return getattr(self, f"_{words[0]}")(*words[1:])

    def monitors(self) -> Monitors:
        return Monitors(FSID, (("127.0.0.1", "6789"),))

    def room(self, pool: str) -> Room:
        return Room(40, 30)

    def block(self, address: str, seconds: int) -> None:
        if not self.may_block:
            raise _failed(ceph.NOT_PERMITTED)
        self.blocked[address] = seconds

    def _status(self, name: str) -> str:
        watchers = [{"address": address, "client": 1} for address in self._found(name).watchers]
        return json.dumps({"watchers": watchers})

    def _lock_command(self, verb: str, name: str, lock: str = "", locker: str = "") -> str:
        locks = self._found(name).locks
        if verb == "ls":
            rows = locks.items()
            return json.dumps([{"id": i, "locker": "client.1", "address": a} for i, a in rows])
        if locker != "client.1" or locks.pop(lock, None) is None:
            raise _failed(ceph.NOT_THERE)
        return ""

    def children(self, snapshot: str) -> list[str]:
        return [name for name, image in self.images.items() if image.parent == snapshot]

    def _found(self, name: str) -> Image:
        image, _, snapshot = name.partition("@")
        if image not in self.images or (snapshot and snapshot not in self.images[image].snapshots):
            raise _failed(ceph.NOT_THERE)
        return self.images[image]

    def _ls(self, pool: str) -> str:
        prefix = f"{pool}/"
        return json.dumps([n.removeprefix(prefix) for n in self.images if n.startswith(prefix)])

    def _info(self, name: str) -> str:
        image = self._found(name)
        found: dict[str, object] = {"size": image.size}
        if image.parent:
            found["parent"] = {"pool": image.parent.partition("/")[0]}
        return json.dumps(found)

    def _create(self, _: str, size: str, name: str) -> str:
        self._add(name, Image(int(size.removesuffix("B"))))
        return ""

    def _clone(self, snapshot: str, name: str) -> str:
        parent = self._found(snapshot)
        self._add(name, Image(parent.size, snapshot))
        return ""

    def _add(self, name: str, image: Image) -> None:
        if name.partition("/")[0] in self.forbidden_pools:
            raise _failed(ceph.NOT_PERMITTED)
        if name in self.images:
            raise _failed(ceph.THERE_ALREADY)
        self.images[name] = image

    def _resize(self, _: str, size: str, name: str) -> str:
        self._found(name).size = int(size.removesuffix("B"))
        return ""

    def _flatten(self, name: str) -> str:
        self._found(name).parent = None
        return ""

    def _rename(self, name: str, new: str) -> str:
        self._add(new, self._found(name))
        del self.images[name]
        return ""

    def _rm(self, name: str) -> str:
        image = self._found(name)
        if image.snapshots:
            raise _failed(ceph.HAS_SNAPSHOTS)
        if self.watched.get(name, 0) > 0:
            self.watched[name] -= 1
            raise _failed(ceph.BUSY)
        del self.images[name]
        return ""

    def _snap(self, verb: str, name: str, snapshot: str = "") -> str:
        image = self._found(name)
        taken = image.snapshots
        if verb not in ("ls", "create") and snapshot not in taken:
            raise _failed(ceph.NOT_THERE)
        if verb == "ls":
            return json.dumps(
                [{"name": n, "protected": str(kept).lower()} for n, kept in taken.items()]
            )
        if verb == "create":
            taken[snapshot] = False
            image.sizes[snapshot] = image.size
        elif verb == "rollback":
            image.size = image.sizes[snapshot]
        elif verb == "protect":
            taken[snapshot] = True
        elif verb == "unprotect":
            if self.children(f"{name}@{snapshot}"):
                raise _failed(ceph.BUSY)
            taken[snapshot] = False
        elif taken.pop(snapshot):
            raise _failed(ceph.BUSY)
        return ""


def _failed(status: int) -> ToolFailed:
    return ToolFailed(f"rbd failed (exit status {status})", status, "")
