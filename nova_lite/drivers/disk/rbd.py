"""Local disks as images in a Ceph cluster: hosts share them, and images become disks as clones.

The disk ``disk.swap`` of a server is the image ``<uuid>_disk.swap`` of [libvirt]images_rbd_pool, as
nova-compute names it. It is made as ``<uuid>_disk.swap.<random>.part`` and renamed, so that one
that has its name is complete. Kernels and ramdisks are files: QEMU reads them itself.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from nova_lite.drivers.disk import ceph, durable, filesystems, qemu_img, space
from nova_lite.drivers.disk.base import LocalDisk, SnapshotBackend
from nova_lite.drivers.disk.files import BOOT_FILES, look, require_fit
from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.drivers.disk.raw import RawBackend
from nova_lite.drivers.disk.rbd_images import RbdImages
from nova_lite.errors import DiskError
from nova_lite.model.volume import NetworkSource, VolumeSource

LOG = logging.getLogger(__name__)

_SCHEME = "rbd://"
_SECTOR = 512
# Glance's store clones and hands out this snapshot of each of its images.
_GLANCE_SNAPSHOT = "snap"


class RbdBackend(SnapshotBackend):
    """Disks in one pool of a Ceph cluster ([libvirt]images_type=rbd)."""

    format = "raw"
    clones = True
    shared = True

    def __init__(self, images: RbdImages, pool: str, user: str | None, secret_uuid: str | None):
        """
        :param user: Ceph client that guests' disks are opened as, without ``client.``
        :param secret_uuid: the hypervisor's secret with that user's key; None: no authentication
        """
        self._images = images
        self._cluster = images.cluster
        self._pool = pool
        self._user = user
        self._secret_uuid = secret_uuid
        self._files = RawBackend()

    # --- making -------------------------------------------------------------------------------
    def check(self, disk: LocalDisk) -> None:
        if disk.origin:
            require_fit(disk, self._size(disk.origin))
        elif disk.base:
            look(disk, disk.base)

    def create(self, directory: Path, disk: LocalDisk) -> None:
        if disk.name in BOOT_FILES:
            self._files.create(directory, disk)
            return
        with space.reported(directory):
            durable.make_directory(directory)
        image, there = self._image(directory, disk.name), self._of_server(directory)
        if image not in there:
            self._made_whole(image, lambda part: self._make(directory, part, disk))
            self._drop_parts(image, there)

    def _made_whole(self, image: str, make: Callable[[str], None]) -> None:
        """Make an image under another name, and give it its own."""
        part = f"{image}.{secrets.token_hex(4)}{durable.PART}"
        try:
            make(part)
            self._images.rename(part, image)
        except BaseException:
            self._drop_part(part)
            raise

    def _drop_parts(self, image: str, there: Iterable[str]) -> None:
        """Remove what a killed agent has begun; by now its programs do not write to it any more."""
        part = re.compile(rf"{re.escape(image)}\.[0-9a-f]+{re.escape(durable.PART)}")
        for other in filter(part.fullmatch, there):
            self._drop_part(other, patient=False)

    def _drop_part(self, part: str, *, patient: bool = True) -> None:
        try:
            self._images.remove(part, patient=patient)
        except DiskError as error:
            LOG.warning("%s stays until its server is deleted: %s", part, error)

    def _make(self, directory: Path, part: str, disk: LocalDisk) -> None:
        if disk.origin:
            self._clone(part, disk, disk.origin)
        elif disk.base:
            base = look(disk, disk.base)
            self._fill(part, max(disk.size_bytes, base.virtual_bytes), disk.base, base.format)
        elif disk.fs:
            raw = durable.part_name(directory / disk.name)
            raw.unlink(missing_ok=True)
            try:
                with space.reported(raw):
                    with open(raw, "xb") as file:
                        file.truncate(disk.size_bytes)
                    filesystems.make(raw, disk.fs, disk.label)
                self._fill(part, disk.size_bytes, raw, "raw")
            finally:
                raw.unlink(missing_ok=True)
        else:
            self._images.create(part, disk.size_bytes)

    def _clone(self, part: str, disk: LocalDisk, origin: str) -> None:
        size = self._size(origin)
        require_fit(disk, size)
        self._images.clone(origin, part)
        if disk.independent:
            self._images.flatten(part)
        if disk.size_bytes > size:
            self._images.resize(part, disk.size_bytes)

    def _fill(self, part: str, size_bytes: int, source: Path, source_format: str) -> None:
        self._images.create(part, -(-size_bytes // _SECTOR) * _SECTOR)
        qemu_img.fill(source, self._cluster.qemu_name(part), source_format)

    def take_in(self, directory: Path, name: str) -> None:
        file, image = directory / name, self._image(directory, name)
        there = self._of_server(directory)
        if image in there:
            self._images.remove(image)
        self._made_whole(image, lambda part: self._fill(part, file.stat().st_size, file, "raw"))
        self._drop_parts(image, there)
        file.unlink()

    # --- finding and removing -----------------------------------------------------------------
    def exists(self, directory: Path, name: str) -> bool:
        if name in BOOT_FILES:
            return self._files.exists(directory, name)
        return self._images.info(self._image(directory, name)) is not None

    def grow(self, directory: Path, name: str, size_bytes: int) -> None:
        image = self._image(directory, name)
        if self._size(image) < size_bytes:
            self._images.resize(image, size_bytes)

    def source(self, directory: Path, name: str) -> VolumeSource:
        network = NetworkSource(
            "rbd",
            hosts=self._cluster.monitors().hosts,
            user=self._user if self._secret_uuid else None,
            secret_type="ceph" if self._secret_uuid else None,
            secret_uuid=self._secret_uuid,
        )
        return VolumeSource(self._image(directory, name), "network", "raw", network)

    def remove(self, directory: Path, name: str) -> None:
        if name in BOOT_FILES:
            self._files.remove(directory, name)
        else:
            self._images.remove(self._image(directory, name))

    def names(self, directory: Path) -> list[str]:
        prefix = self._image(directory, "")
        boot_files = [name for name in BOOT_FILES if self._files.exists(directory, name)]
        return [image.removeprefix(prefix) for image in self._of_server(directory)] + boot_files

    def remove_all(self, directory: Path) -> None:
        for image in self._of_server(directory):
            self._images.remove(image)

    def shut_out(self, directory: Path) -> None:
        for image in self._of_server(directory):
            for address in self._images.shut_out(image):
                LOG.warning("RBD image %s was open at %s, which can write to it no more",
                            image, address)  # fmt: skip

    def room(self) -> tuple[int, int]:
        room = self._cluster.room(self._pool)
        return room.total, room.free

    def _of_server(self, directory: Path) -> list[str]:
        names = self._images.names(self._pool)
        return [f"{self._pool}/{name}" for name in names if name.startswith(f"{directory.name}_")]

    def _image(self, directory: Path, name: str) -> str:
        return f"{self._pool}/{directory.name}_{name}"

    def _size(self, image: str) -> int:
        info = self._images.info(image)
        if info is None:
            raise DiskError(f"{image} is not in {self._cluster.name} any more")
        return int(info["size"])

    # --- images that are in the cluster -------------------------------------------------------
    def origin(self, locations: Iterable[str]) -> str | None:
        for found in self._here(locations):
            try:
                if self._images.info(found) is not None:
                    return found
            except ToolFailed as failed:
                LOG.warning("Image %s is copied, not cloned: %s", found, failed)
        return None

    def _here(self, locations: Iterable[str]) -> list[str]:
        """The snapshots of this cluster among addresses of an image."""
        parts = [_parts(location) for location in locations]
        if not any(parts):
            return []
        fsid = self._cluster.monitors().fsid
        return [f"{p[1]}/{p[2]}@{p[3]}" for p in parts if p and p[0] == fsid]

    def take(
        self, directory: Path, name: str, label: str, *, protected: bool = True
    ) -> None:
        self._images.take(self._image(directory, name), label, protected=protected)

    def roll_back(self, directory: Path, name: str, label: str) -> bool:
        return self._images.roll_back(self._image(directory, name), label)

    def drop(self, directory: Path, name: str, label: str) -> None:
        self._images.drop(self._image(directory, name), label)

    def image_location(
        self, directory: Path, name: str, image_id: str, like: Iterable[str]
    ) -> str | None:
        info = self._images.info(self._image(directory, name)) or {}
        parent = info.get("parent")
        pools = [parent["pool"]] if parent else [at.partition("/")[0] for at in self._here(like)]
        if not pools:
            return None
        names = (self._cluster.monitors().fsid, pools[0], image_id, _GLANCE_SNAPSHOT)
        return _SCHEME + "/".join(quote(part, safe="") for part in names)

    def share(self, directory: Path, name: str, label: str, location: str) -> bool:
        image, _, snapshot = _named(location).partition("@")
        if snapshot in self._images.snapshots(image):
            self._images.take(image, snapshot)  # it may not be protected yet
            return True
        try:
            self._images.remove(image)  # what an attempt left that was cut off
            self._images.clone(f"{self._image(directory, name)}@{label}", image)
        except ToolFailed as failed:
            if failed.status != ceph.NOT_PERMITTED:
                raise
            LOG.warning("Snapshots are uploaded: %s may not write to the images of %s",
                        self._user, self._cluster.name)  # fmt: skip
            return False
        self._images.flatten(image)
        self._images.take(image, snapshot)
        return True

    def unshare(self, location: str) -> None:
        image, _, snapshot = _named(location).partition("@")
        self._images.remove(image, also=snapshot)

    def extract(
        self,
        directory: Path,
        name: str,
        label: str,
        target: Path,
        disk_format: str,
        *,
        compress: bool = False,
        go_on: Callable[[], None] | None = None,
    ) -> None:
        source = self._cluster.qemu_name(f"{self._image(directory, name)}@{label}")
        qemu_img.convert(source, target, "raw", disk_format, compress=compress, go_on=go_on)

    def extract_shared(
        self, location: str, target: Path, *, go_on: Callable[[], None] | None = None
    ) -> None:
        source = self._cluster.qemu_name(_named(location))
        qemu_img.convert(source, target, "raw", "raw", go_on=go_on)


def _parts(location: str) -> tuple[str, ...] | None:
    """(cluster, pool, image, snapshot) of an address, None for one of another kind.

    Users may be allowed to write addresses: one that names a server's disk is not believed.
    """
    pieces = location.removeprefix(_SCHEME).split("/")
    parts = tuple(unquote(piece) for piece in pieces)
    known = location.startswith(_SCHEME) and len(parts) == 4 and all(parts)
    if not known or any(letter in "".join(parts) for letter in "/@:\\") or "_disk" in parts[2]:
        return None
    return parts


def _named(location: str) -> str:
    """``pool/image@snapshot`` of an address that ``image_location`` has made."""
    parts = _parts(location)
    assert parts is not None
    return f"{parts[1]}/{parts[2]}@{parts[3]}"
